/* Reference models: trainings beside the one that is released, with the same settings, on half of
 * the people each. What a model knows of somebody is seen against models that never saw that person
 * (audit/membership.h), and nothing else is ever made of a reference: nothing is drawn from it.
 *
 *     struct reference reference;
 *     if (!reference_draw(&store, seed, 2, &reference, err)) …
 *     … reference.learns[row] …
 *     reference_release(&reference);
 *
 * People of training and people who are held out are shared out together, by a permutation of their
 * names that knows nothing of who is which: so whatever a reference says differs between the two by
 * chance alone. References 1 and 2 are halves of one permutation, 3 and 4 of the next: of each pair
 * one has left out whomever the other learnt from, and both are of equally many people, or of one
 * more. Drawn without pairs, two references would leave a quarter of the people without any.
 */
#ifndef TRAIN_REFERENCE_H
#define TRAIN_REFERENCE_H

#include "base/digest.h"
#include "base/yaml.h"
#include "data/dataset.h"

enum { REFERENCES_MOST = 64 };

/* The plan's section `references`. */
struct reference_settings {
    int64_t count; /* 0: none */
};
extern const struct yaml_field reference_fields[];

struct reference {
    bool *learns;          /* by row of the store: whether it is trained on that image */
    size_t people;         /* whom it learns from */
    char half[DIGEST_HEX]; /* SHA-256 over their names, a line each, in byte order */
};

/* The reference of a number, from 1, of a training with that seed. The error: the store holds
 * nobody out, so there is nobody whom membership could be measured of. */
bool reference_draw(const struct dataset *store, uint64_t seed, uint64_t number,
                    struct reference *reference, struct error *err) MUST_USE;
void reference_release(struct reference *reference);

#endif
