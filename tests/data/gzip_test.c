#include "test.h"

#include "base/arena.h"
#include "data/gzip.h"

static struct error err;

enum { SIZE = 300000 };
static unsigned char plain[SIZE];

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        plain[i] = (unsigned char)(i * i >> 7);
    return 0;
}

static unsigned char *pack(size_t size, size_t *packed_size)
{
    unsigned char *packed = gzip_compress(plain, size, 6, packed_size, &err);
    assert_ok(packed, err);
    return packed;
}

static void what_is_compressed_comes_back(void **state)
{
    (void)state;
    for (size_t size = 0; size <= SIZE; size = 7 * size + 1) {
        size_t packed_size, out_size;
        unsigned char *packed = pack(size, &packed_size);
        unsigned char *out = gzip_decompress(packed, packed_size, size, "x", &out_size, &err);
        assert_ok(out, err);
        assert_int_equal(out_size, size);
        assert_memory_equal(out, plain, size);
        memory_free(packed);
        memory_free(out);
    }
}

static void members_are_joined_whatever_the_last_one_tells(void **state)
{
    (void)state;
    size_t first_size, last_size, out_size;
    unsigned char *first = pack(SIZE, &first_size), *last = pack(1, &last_size);
    unsigned char *both = malloc(first_size + 2 * last_size);
    memcpy(both, first, first_size);
    memcpy(both + first_size, last, last_size);
    memcpy(both + first_size + last_size, last, last_size);
    unsigned char *out =
        gzip_decompress(both, first_size + 2 * last_size, 1 << 30, "x", &out_size, &err);
    assert_ok(out, err);
    assert_int_equal(out_size, SIZE + 2);
    assert_memory_equal(out, plain, SIZE);
    memory_free(out);
    assert_null(gzip_decompress(both, first_size + 2 * last_size, SIZE + 1, "x", &out_size, &err));
    assert_string_equal(err.message,
                        "x: decompresses to more than 300001 bytes, which is the limit");
    memory_free(first);
    memory_free(last);
    free(both);
}

static void every_cut_and_every_flipped_byte_is_noticed(void **state)
{
    (void)state;
    size_t packed_size, out_size;
    unsigned char *packed = pack(500, &packed_size);
    for (size_t size = 0; size < packed_size; size++)
        assert_null(gzip_decompress(packed, size, 1 << 20, "x", &out_size, &err));
    for (size_t i = 10; i < packed_size; i++) { /* after the header, whose fields say little */
        packed[i] ^= 1;
        assert_null(gzip_decompress(packed, packed_size, 1 << 20, "x", &out_size, &err));
        packed[i] ^= 1;
    }
    memory_free(packed);
}

static void bytes_after_the_last_member_are_refused(void **state)
{
    (void)state;
    size_t packed_size, out_size;
    unsigned char *packed = pack(500, &packed_size);
    unsigned char *longer = calloc(packed_size + 5, 1);
    memcpy(longer, packed, packed_size);
    assert_null(gzip_decompress(longer, packed_size + 5, 1 << 20, "x", &out_size, &err));
    assert_contains(err.message, "x: 5 bytes after the gzip data that are not gzip;");
    memory_free(packed);
    free(longer);
}

static void a_bomb_stops_at_the_limit(void **state)
{
    (void)state;
    static unsigned char zeros[20 << 20];
    size_t packed_size, out_size;
    unsigned char *packed = gzip_compress(zeros, sizeof zeros, 12, &packed_size, &err);
    assert_true(packed_size < 25000);
    packed[packed_size - 1] = packed[packed_size - 2] = 0xff; /* tells of 4 GB */
    assert_null(gzip_decompress(packed, packed_size, 1 << 20, "x", &out_size, &err));
    assert_contains(err.message, "more than 1048576 bytes");
    assert_null(gzip_decompress(packed, packed_size, 1 << 30, "x", &out_size, &err));
    assert_contains(err.message, "damaged");
    memory_free(packed);
}

static void the_beginning_can_be_seen_alone(void **state)
{
    (void)state;
    unsigned char head[400];
    size_t packed_size;
    unsigned char *packed = pack(SIZE, &packed_size);
    assert_int_equal(gzip_peek(packed, packed_size, head, sizeof head), sizeof head);
    assert_memory_equal(head, plain, sizeof head);
    assert_int_equal(gzip_peek(packed, 12, head, sizeof head), 0);
    packed[1] ^= 1;
    assert_int_equal(gzip_peek(packed, packed_size, head, sizeof head), 0);
    memory_free(packed);
    packed = pack(100, &packed_size);
    assert_int_equal(gzip_peek(packed, packed_size, head, sizeof head), 100);
    unsigned char *twice = memory_grow(NULL, 2, packed_size);
    memcpy(twice, packed, packed_size);
    memcpy(twice + packed_size, packed, packed_size);
    assert_int_equal(gzip_peek(twice, 2 * packed_size, head, sizeof head), 200);
    assert_memory_equal(head, plain, 100);
    assert_memory_equal(head + 100, plain, 100);
    free(twice);
    memory_free(packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_compressed_comes_back),
        cmocka_unit_test(members_are_joined_whatever_the_last_one_tells),
        cmocka_unit_test(every_cut_and_every_flipped_byte_is_noticed),
        cmocka_unit_test(bytes_after_the_last_member_are_refused),
        cmocka_unit_test(a_bomb_stops_at_the_limit),
        cmocka_unit_test(the_beginning_can_be_seen_alone),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
