/* What backends share; see backend.h. */
#include "tensor/backend.h"

#include "base/random.h"

#include <string.h>

/* Step and stream are hashed together by the generator itself, so that the streams of different
 * steps and leaves do not overlap. */
uint64_t random_leaf_stream(const struct node *leaf, uint64_t step)
{
    return random_bits(0, leaf->random.stream, step);
}

uint16_t bf16_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float bf16_to_float(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}
