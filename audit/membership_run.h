/* One measuring of membership while it runs: shared by the files that score, compare and write. */
#ifndef AUDIT_MEMBERSHIP_RUN_H
#define AUDIT_MEMBERSHIP_RUN_H

#include "audit/companions.h"
#include "audit/duplicates.h"
#include "audit/membership.h"
#include "audit/sets.h"
#include "train/generator.h"
#include "train/reference.h"

/* Whose images are compared. */
enum member_side { MEMBERS, OTHERS, SIDES };
extern const enum set_role member_roles[SIDES];

/* What tells images apart that no model has seen. */
enum plain_look { LOOK_MEAN, LOOK_CONTRAST, LOOK_ROUGHNESS, LOOK_COUNT };
extern const char *const look_names[LOOK_COUNT];

/* A person's images. */
struct member_subject {
    const char *name;
    size_t images;
    double score;      /* their mean */
    double calibrated; /* the mean of theirs; NaN: not judged, or there are no references */
};

/* The images of a set that are looked at. */
struct member_set {
    const struct audit_set *set;
    size_t count, subject_count;
    uint32_t *images;         /* ascending: their places in the set */
    uint32_t *groups;         /* of each: whose it is */
    uint32_t *subject;        /* of each: the place among the subjects */
    double *numbers, *scores; /* (count, numbers of an image), (count) */
    double *beside;           /* (references, count): their scores; NaN of what they learnt from */
    double *calibrated; /* (count), NaN: no reference left it out; NULL: there are no references */
    double *looks[LOOK_COUNT];
    struct member_subject *subjects; /* in byte order of their names */
};

/* A model that learnt from half of the people. */
struct member_reference {
    const char *checkpoint;
    struct digest digest; /* of that file */
    uint64_t number, step;
    struct reference drawn; /* from whom; whoever has an image of theirs counts as learnt from */
};

struct membership_run {
    const struct membership_job *job;
    const struct membership_settings *settings;
    struct sets sets;
    struct member_set of[SIDES];
    size_t seen; /* held-out images that are training images, and left out */
    struct generator *generator;
    const struct generator_format *format;
    size_t numbers;           /* of an image */
    double *once;             /* room for those of one */
    const int *times;         /* that they are of; NULL: what a discriminator says */
    int steps;                /* of diffusion */
    struct digest checkpoint; /* of the file */
    struct member_reference *references;
    size_t reference_count;
    size_t copied; /* people whom a reference learnt from under another name */
    bool imported; /* nobody knows here what the weights were trained on */
    struct text warnings;
    struct arena arena;
};

/* membership_reference.c: finds the references of a job, whose model is open, and refuses those
 * that are none of it; has them know people under every name; whether one learnt from an image of
 * a set; what scores are beside theirs. */
bool membership_find_references(struct membership_run *run, struct error *err) MUST_USE;
void membership_release_references(struct membership_run *run);
bool membership_reference_learns(const struct member_reference *reference,
                                 const struct member_set *of, size_t image);
void membership_know_copies(struct membership_run *run, struct look *const looks[SIDES]);
bool membership_check_judged(const struct membership_run *run, struct error *err) MUST_USE;
void membership_calibrate(struct membership_run *run);

/* membership_result.c: membership.json and the two tables; says in run->warnings what they have to
 * be read with. */
struct json *membership_document(struct membership_run *run);
bool membership_write_tables(struct membership_run *run, struct error *err) MUST_USE;

#endif
