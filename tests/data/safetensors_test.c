#include "scratch.h"

#include "data/safetensors.h"

static struct error err;
static struct safetensors file;

/* A file of this header and `data` zero bytes. */
static bool parse(const char *header, size_t data)
{
    static _Alignas(16) unsigned char bytes[4096];
    size_t length = strlen(header);
    memset(bytes, 0, sizeof bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(length >> (8 * i));
    memcpy(bytes + 8, header, length);
    return safetensors_parse(&file, bytes, 8 + length + data, "x", &err);
}

static void expect_error(const char *header, size_t data, const char *message)
{
    assert_false(parse(header, data));
    assert_contains(err.message, message);
}

#define TENSOR(name, type, shape, begin, end)                                                      \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":[" shape "],\"data_offsets\":[" #begin         \
    "," #end "]}"

static void tensors_and_metadata_are_read(void **state)
{
    (void)state;
    assert_ok(parse("{\"__metadata__\":{\"k\":\"v\"}," TENSOR("b", "F32", "2,3", 4, 28) "," TENSOR(
                        "a", "I16", "2", 0, 4) "," TENSOR("z", "F64", "0,9", 28, 28) "}   ",
                    28),
              err);
    assert_int_equal(file.count, 3);
    assert_string_equal(file.tensors[0].name, "a");
    const struct tensor_entry *tensor = safetensors_find(&file, "b");
    assert_int_equal(tensor->type, ELEMENT_FLOAT32);
    assert_int_equal(tensor->rank, 2);
    assert_int_equal(tensor->shape[1], 3);
    assert_int_equal(tensor->bytes, 24);
    assert_string_equal(safetensors_metadata(&file, "k"), "v");
    assert_null(safetensors_metadata(&file, "b"));
    assert_null(safetensors_find(&file, "__metadata__"));
    safetensors_close(&file);
}

static void every_type_is_read(void **state)
{
    (void)state;
    for (int type = 0; type < ELEMENT_TYPE_COUNT; type++) {
        char header[200];
        snprintf(header, sizeof header,
                 "{\"a\":{\"dtype\":\"%s\",\"shape\":[],\"data_offsets\":[0,%zu]}}",
                 element_info[type].safetensors, element_info[type].bytes);
        assert_ok(parse(header, element_info[type].bytes), err);
        assert_int_equal(file.tensors[0].type, type);
        safetensors_close(&file);
    }
}

static void data_must_be_tiled_exactly(void **state)
{
    (void)state;
    expect_error("{" TENSOR("a", "U8", "4", 0, 4) "," TENSOR("b", "U8", "4", 3, 7) "}", 7,
                 "tensor \"b\": its data overlap another tensor's");
    expect_error("{" TENSOR("a", "U8", "4", 0, 4) "," TENSOR("b", "U8", "4", 0, 4) "}", 4,
                 "overlap");
    expect_error("{" TENSOR("a", "U8", "4", 0, 4) "," TENSOR("b", "U8", "4", 5, 9) "}", 9,
                 "tensor \"b\": its data leave a gap before them");
    expect_error("{" TENSOR("a", "U8", "4", 1, 5) "}", 5, "leave a gap");
    expect_error("{" TENSOR("a", "U8", "4", 0, 4) "}", 6, "2 bytes at the end that belong to no");
    expect_error("{}", 1, "1 bytes at the end");
}

static void sizes_must_agree(void **state)
{
    (void)state;
    expect_error("{" TENSOR("a", "F32", "4", 0, 4) "}", 4, "ask for 16 bytes, data_offsets span 4");
    expect_error("{" TENSOR("a", "U8", "4", 0, 9) "}", 4, "data_offsets do not lie inside");
    expect_error("{" TENSOR("a", "U8", "4", 4, 0) "}", 4, "data_offsets do not lie inside");
    expect_error("{" TENSOR("a", "U8", "-4", 0, 4) "}", 4, "not a list of sizes");
    expect_error("{" TENSOR("a", "U8", "4.0", 0, 4) "}", 4, "not a list of sizes");
    expect_error("{" TENSOR("a", "F64", "4611686018427387904,4", 0, 0) "}", 0, "not a list of");
    expect_error("{" TENSOR("a", "U8", "1,1,1,1,1,1,1,1,1", 0, 1) "}", 1,
                 "9 dimensions; at most 8");
}

static void headers_are_strict(void **state)
{
    (void)state;
    expect_error("{" TENSOR("a", "U8", "1", 0, 1) "," TENSOR("a", "U8", "1", 1, 2) "}", 2, "a");
    expect_error("{" TENSOR("a", "U9", "1", 0, 1) "}", 1, "the dtype \"U9\" is not known");
    expect_error("{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype");
    expect_error("{\"a\":3}", 0, "a");
    expect_error("{\"__metadata__\":{\"k\":1}}", 0, "something that is not a string");
    expect_error("{\"__metadata__\":[]}", 0, "not an object of strings");
    expect_error(" {}", 0, "does not begin with '{'");
    expect_error("{} x", 0, "x: ");
    expect_error("[]", 0, "does not begin with '{'");
}

static void lengths_that_lie_are_refused(void **state)
{
    (void)state;
    static const unsigned char huge[] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}'
    };
    static const unsigned char longer[] = { 3, 0, 0, 0, 0, 0, 0, 0, '{', '}' };
    assert_false(safetensors_parse(&file, huge, sizeof huge, "x", &err));
    assert_contains(err.message, "a header of 18446744073709551615 bytes in a file of 10");
    assert_false(safetensors_parse(&file, longer, sizeof longer, "x", &err));
    for (size_t size = 0; size < 10; size++)
        assert_false(safetensors_parse(&file, huge, size, "x", &err));
}

static void what_is_written_is_read_back_and_aligned(void **state)
{
    (void)state;
    float weights[6] = { 1, 2, 3, 4, 5, 6 };
    struct tensor_entry tensors[] = {
        { "w \"1\"", ELEMENT_FLOAT32, 2, { 2, 3 }, sizeof weights, weights },
        { "s", ELEMENT_UINT8, 0, { 0 }, 1, "x" },
    };
    struct metadata_entry metadata[] = { { "settings", "{\"a\": 1}" } };
    assert_ok(safetensors_write(scratch("x"), tensors, 2, metadata, 1, &err), err);
    assert_ok(safetensors_open(&file, scratch("x"), &err), err);
    const struct tensor_entry *tensor = safetensors_find(&file, "w \"1\"");
    assert_memory_equal(tensor->data, weights, sizeof weights);
    assert_int_equal((uintptr_t)tensor->data % 64, 0);
    assert_string_equal(safetensors_metadata(&file, "settings"), "{\"a\": 1}");
    safetensors_close(&file);
    assert_false(safetensors_open(&file, scratch("none"), &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_and_metadata_are_read),
        cmocka_unit_test(every_type_is_read),
        cmocka_unit_test(data_must_be_tiled_exactly),
        cmocka_unit_test(sizes_must_agree),
        cmocka_unit_test(headers_are_strict),
        cmocka_unit_test(lengths_that_lie_are_refused),
        cmocka_unit_test_setup_teardown(what_is_written_is_read_back_and_aligned, scratch_make,
                                        scratch_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
