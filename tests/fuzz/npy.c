/* npy_parse: an accepted array lies wholly within the bytes. */
#include "fuzz/fuzz.h"

#include "data/npy.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct npy array;
    struct error err = { "" };
    if (!npy_parse(&array, bytes, size, "x.npy", &err)) {
        CHECK(strncmp(err.message, "x.npy: ", 7) == 0, "no name in: %s", err.message);
        return 0;
    }
    size_t length = array.count * element_info[array.type].bytes, product = 1;
    CHECK(array.data >= bytes && array.data + length == bytes + size, "data beside the bytes");
    CHECK(array.rank >= 0 && array.rank <= NPY_MAX_RANK, "rank %d", array.rank);
    for (int i = 0; i < array.rank; i++)
        product *= array.shape[i];
    CHECK(product == array.count, "a shape of %zu, %zu elements", product, array.count);
    return 0;
}
