/* Assistants that a run starts itself; see beside.h. */
#include "beside.h"

#include "base/lock.h"
#include "base/parallel.h"
#include "base/progress.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Seconds that an assistant is given to leave a checkpoint when its run has ended. */
static const double PATIENCE = 60;

/* In the child: becomes an assistant, which is told when its parent is no more. */
static _Noreturn void become(const char *plan, const char *device, const char *threads,
                             pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == parent && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0)
        execl("/proc/self/exe", "lethe", "assist", plan, "--device", device, "--threads", threads,
              "--wait", "0", "--quiet", NULL);
    _exit(127);
}

bool beside_start(struct beside *beside, const struct yaml_strings *devices, const char *plan,
                  struct error *err)
{
    int total = parallel_threads(), share = total / (int)(devices->count + 1);
    char threads[16];
    pid_t parent = getpid();
    share = share ? share : 1;
    *beside = (struct beside){ .threads = share };
    if (devices->count > BESIDE_MAX)
        return error_set(err, "--beside: %zu devices; at most %d can be named", devices->count,
                         (int)BESIDE_MAX);
    snprintf(threads, sizeof threads, "%d", share);
    for (size_t i = 0; i < devices->count; i++) {
        pid_t process = fork();
        if (process == 0)
            become(plan, devices->items[i], threads, parent);
        if (process < 0) {
            error_set_errno(err, "--beside: no process can be started");
            beside_end(beside, true);
            return false;
        }
        beside->children[beside->count++] = (struct beside_child){ process, devices->items[i] };
    }
    int own = total - share * (int)devices->count;
    if (devices->count)
        parallel_set_threads(own > 1 ? own : 1);
    return true;
}

static void tell(const struct beside_child *child, int status)
{
    if (WIFSIGNALED(status))
        fprintf(stderr, "lethe run: the assistant on %s was ended by signal %d; the run goes on\n",
                child->device, WTERMSIG(status));
    else if (WEXITSTATUS(status))
        fprintf(stderr, "lethe run: the assistant on %s has failed; the run goes on without it\n",
                child->device);
}

void beside_look(struct beside *beside)
{
    for (size_t i = 0; i < beside->count; i++) {
        struct beside_child *child = &beside->children[i];
        int status;
        if (child->process && waitpid(child->process, &status, WNOHANG) == child->process) {
            tell(child, status);
            child->process = 0;
        }
    }
}

static bool is_any_left(const struct beside *beside)
{
    for (size_t i = 0; i < beside->count; i++)
        if (beside->children[i].process)
            return true;
    return false;
}

/* They see that the run has ended; those that do not are told. */
void beside_end(struct beside *beside, bool at_once)
{
    double told = clock_seconds() + (at_once ? 0 : PATIENCE);
    for (beside_look(beside); is_any_left(beside); beside_look(beside)) {
        for (size_t i = 0; i < beside->count && clock_seconds() >= told; i++)
            if (beside->children[i].process)
                kill(beside->children[i].process, SIGTERM);
        if (clock_seconds() >= told)
            told = clock_seconds() + PATIENCE;
        lock_pause();
    }
    *beside = (struct beside){ 0 };
}
