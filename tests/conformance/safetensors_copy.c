/* safetensors_copy IN OUT: reads a file with our reader and writes what it understood with our
 * writer. Exit code 2, with the message, when the reader refuses. */
#include "data/safetensors.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    struct safetensors file;
    struct error err;
    if (argc != 3 || !safetensors_open(&file, argv[1], &err)) {
        fprintf(stderr, "%s\n", argc == 3 ? err.message : "usage: safetensors_copy IN OUT");
        return 2;
    }
    bool ok = safetensors_write(argv[2], file.tensors, file.count, file.metadata,
                                file.metadata_count, &err);
    safetensors_close(&file);
    if (!ok)
        fprintf(stderr, "%s\n", err.message);
    return ok ? 0 : 2;
}
