/* Machines of files: what /proc and the trees of control groups look like in a job of a batch
 * system, in a container, and where there are none. */
#include "scratch.h"

#include "base/allowance.h"

#include <limits.h>
#include <stdint.h>

static struct error err;
static struct allowance allowance;

static void has(const char *path, const char *text)
{
    struct arena arena;
    arena_init(&arena);
    assert_ok(folder_create(path_parent(&arena, scratch(path)), &err), err);
    arena_release(&arena);
    write_text(scratch(path), text);
}

static void has_memory(void)
{
    has("proc/meminfo", "MemTotal:       8000 kB\nMemFree:   10 kB\nMemAvailable:   6000 kB\n");
}

static const struct allowance *read_it(void)
{
    allowance_read(&allowance, scratch(""));
    return &allowance;
}

static void without_control_groups_it_is_the_machine(void **state)
{
    (void)state;
    has_memory();
    assert_int_equal(read_it()->cores, INT_MAX);
    assert_int_equal(allowance.memory, 8000 * 1024);
    assert_int_equal(allowance.memory_left, 6000 * 1024);
    assert_false(allowance.is_group);
}

static void where_nothing_is_told_nothing_is_limited(void **state)
{
    (void)state;
    assert_int_equal(read_it()->cores, INT_MAX);
    assert_true(allowance.memory == SIZE_MAX && allowance.memory_left == SIZE_MAX);
}

#define V2_MOUNT "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

/* Slurm limits job and step; the task's own group says "max". */
static void the_least_of_all_groups_above_counts(void **state)
{
    (void)state;
    has_memory();
    has("proc/self/mountinfo", "24 1 8:1 / / rw - ext4 /dev/sda1 rw\n" V2_MOUNT);
    has("proc/self/cgroup", "0::/slurm/job_7/step_0/task_0\n");
    has("sys/fs/cgroup/slurm/job_7/step_0/task_0/memory.max", "max\n");
    has("sys/fs/cgroup/slurm/job_7/step_0/task_0/memory.current", "100000\n");
    has("sys/fs/cgroup/slurm/job_7/step_0/task_0/cpu.max", "max 100000\n");
    has("sys/fs/cgroup/slurm/job_7/memory.max", "3000000\n");
    has("sys/fs/cgroup/slurm/job_7/memory.high", "2000000\n");
    has("sys/fs/cgroup/slurm/job_7/memory.current", "500000\n");
    has("sys/fs/cgroup/slurm/job_7/cpu.max", "250000 100000\n");
    has("sys/fs/cgroup/slurm/memory.max", "5000000\n");
    has("sys/fs/cgroup/slurm/memory.current", "4900000\n");
    has("sys/fs/cgroup/slurm/cpu.max", "400000 100000\n");
    assert_int_equal(read_it()->cores, 3); /* two and a half */
    assert_int_equal(allowance.memory, 2000000);
    assert_int_equal(allowance.memory_left, 100000); /* others have taken the rest */
    assert_true(allowance.is_group);
}

/* A container's own group is the top of what it sees. */
static void a_container_sees_its_own_group_at_the_top(void **state)
{
    (void)state;
    has_memory();
    has("proc/self/mountinfo", V2_MOUNT);
    has("proc/self/cgroup", "0::/\n");
    has("sys/fs/cgroup/memory.max", "4000000\n");
    has("sys/fs/cgroup/memory.current", "1000000\n");
    has("sys/fs/cgroup/cpu.max", "200000 100000\n");
    assert_int_equal(read_it()->cores, 2);
    assert_int_equal(allowance.memory_left, 3000000);
}

/* Else a job that has read its images would have no memory left. */
static void pages_of_files_count_as_left(void **state)
{
    (void)state;
    has_memory();
    has("proc/self/mountinfo", V2_MOUNT);
    has("proc/self/cgroup", "0::/\n");
    has("sys/fs/cgroup/memory.max", "4000000\n");
    has("sys/fs/cgroup/memory.current", "3900000\n");
    has("sys/fs/cgroup/memory.stat", "anon 900000\nfile 3000000\nshmem 0\ninactive_anon 1\n"
                                     "inactive_file 2000000\nactive_file 1000000\n");
    assert_int_equal(read_it()->memory_left, 4000000 - 900000);
}

static void version_1_has_a_tree_for_each_controller(void **state)
{
    (void)state;
    has_memory();
    has("proc/self/mountinfo",
        "31 24 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
        "32 24 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpuacct,cpu\n"
        "33 24 0:29 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
    has("proc/self/cgroup", "5:cpuset:/x\n4:memory:/docker/ab/inner\n3:cpuacct,cpu:/jobs\n"
                            "1:name=systemd:/\n0::/\n");
    has("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "9223372036854771712\n");
    has("sys/fs/cgroup/memory/inner/memory.usage_in_bytes", "7\n");
    has("sys/fs/cgroup/memory/memory.limit_in_bytes", "3000000\n");
    has("sys/fs/cgroup/memory/memory.usage_in_bytes", "2000000\n");
    has("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 500000\n");
    has("sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "50000\n");
    has("sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us", "100000\n");
    has("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    has("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    assert_int_equal(read_it()->cores, 1); /* half of one */
    assert_int_equal(allowance.memory, 3000000);
    assert_int_equal(allowance.memory_left, 1500000);
}

/* A group that is seen from outside of its container's mount. */
static void a_path_that_is_not_below_the_mount_is_the_mount(void **state)
{
    (void)state;
    has_memory();
    has("proc/self/mountinfo",
        "30 24 0:26 /kubepods/pod1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    has("proc/self/cgroup", "0::/elsewhere\n");
    has("sys/fs/cgroup/cpu.max", "100000 100000\n");
    assert_int_equal(read_it()->cores, 1);
    assert_false(allowance.is_group);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_control_groups_it_is_the_machine),
        TEST(where_nothing_is_told_nothing_is_limited),
        TEST(the_least_of_all_groups_above_counts),
        TEST(a_container_sees_its_own_group_at_the_top),
        TEST(pages_of_files_count_as_left),
        TEST(version_1_has_a_tree_for_each_controller),
        TEST(a_path_that_is_not_below_the_mount_is_the_mount),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
