/* The element types of arrays on disk (.npy, safetensors), and half precision. */
#ifndef DATA_ELEMENT_H
#define DATA_ELEMENT_H

#include <stddef.h>
#include <stdint.h>

enum element_type {
    ELEMENT_BOOL,
    ELEMENT_UINT8,
    ELEMENT_INT8,
    ELEMENT_UINT16,
    ELEMENT_INT16,
    ELEMENT_UINT32,
    ELEMENT_INT32,
    ELEMENT_UINT64,
    ELEMENT_INT64,
    ELEMENT_FLOAT16,
    ELEMENT_BFLOAT16,
    ELEMENT_FLOAT32,
    ELEMENT_FLOAT64,
    ELEMENT_TYPE_COUNT
};

struct element_info {
    const char *name; /* "float32" */
    size_t bytes;
    const char *npy;         /* "<f4"; NULL where .npy has no such type */
    const char *safetensors; /* "F32" */
};
extern const struct element_info element_info[ELEMENT_TYPE_COUNT];

/* IEEE 754 half precision, round to nearest, ties to even. */
uint16_t half_from_float(float value);
uint16_t half_from_double(double value); /* rounded once */
float half_to_float(uint16_t half);

#endif
