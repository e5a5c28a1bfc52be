/* safetensors_parse: accepted tensors tile the data. */
#include "fuzz/fuzz.h"

#include "data/safetensors.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct safetensors file;
    struct error err = { "" };
    if (!safetensors_parse(&file, bytes, size, "x", &err)) {
        CHECK(strncmp(err.message, "x: ", 3) == 0, "no name in: %s", err.message);
        return 0;
    }
    const uint8_t *end = bytes + size;
    size_t total = 0;
    for (size_t i = 0; i < file.count; i++) {
        const struct tensor_entry *tensor = &file.tensors[i];
        const uint8_t *data = tensor->data;
        size_t product = element_info[tensor->type].bytes;
        CHECK(data >= bytes && tensor->bytes <= (size_t)(end - data), "data beside the bytes");
        for (int j = 0; j < tensor->rank; j++)
            product *= tensor->shape[j];
        CHECK(product == tensor->bytes, "a shape of %zu bytes, data of %zu", product,
              tensor->bytes);
        CHECK(safetensors_find(&file, tensor->name) == tensor, "\"%s\" twice", tensor->name);
        total += tensor->bytes;
    }
    CHECK(total <= size, "tensors of %zu bytes in a file of %zu", total, size);
    safetensors_close(&file);
    return 0;
}
