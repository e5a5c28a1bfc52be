#include "test.h"

#include "audit/blas.h"
#include "base/parallel.h"

/* OpenBLAS may share OpenMP's threads with everybody: an audit that told it to use one once ran on
 * one itself, and so did the trainings that came after it. */
static void products_leave_the_number_of_threads_alone(void **state)
{
    (void)state;
    float a[4] = { 1, 2, 3, 4 }, b[4] = { 5, 6, 7, 8 }, c[4];
    int threads = parallel_threads();
    for (int count = 1; count <= 3; count++) {
        blas_set_threads(count);
        assert_int_equal(parallel_lend(threads), threads);
        blas_product(2, 2, 2, a, 2, b, 2, c, 2);
        assert_int_equal(parallel_lend(threads), threads);
        blas_product_transposed(2, 2, 2, a, 2, b, 2, c, 2);
        assert_int_equal(parallel_lend(threads), threads);
    }
}

static void products_are_those_of_rows_with_columns_or_with_rows(void **state)
{
    (void)state;
    const float a[] = { 1, 2, 3, 4, 5, 6 }, b[] = { 7, 8, 9, 10, 11, 12 };
    float c[4];
    blas_product(2, 2, 3, a, 3, b, 2, c, 2); /* b (3,2) */
    assert_true(c[0] == 58 && c[1] == 64 && c[2] == 139 && c[3] == 154);
    blas_product_transposed(2, 2, 3, a, 3, b, 3, c, 2); /* b (2,3) */
    assert_true(c[0] == 50 && c[1] == 68 && c[2] == 122 && c[3] == 167);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_leave_the_number_of_threads_alone),
        cmocka_unit_test(products_are_those_of_rows_with_columns_or_with_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
