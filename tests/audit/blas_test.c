#include "test.h"

#include "audit/blas.h"
#include "base/parallel.h"

#include <math.h>

/* OpenBLAS may share OpenMP's threads with everybody: an audit that told it to use one once ran on
 * one itself, and so did the trainings that came after it. */
static void products_leave_the_number_of_threads_alone(void **state)
{
    (void)state;
    float a[4] = { 1, 2, 3, 4 }, b[4] = { 5, 6, 7, 8 }, c[4];
    int threads = parallel_threads();
    for (int count = 1; count <= 3; count++) {
        assert_true(blas_set_threads(count, NULL));
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

static void rows_are_reduced_without_changing_their_squares(void **state)
{
    (void)state;
    double a[] = { 1, 2, 3, 4, 5, 7, -1, 0, 2, 0.5 }, before[2][2] = { { 0 } },
           after[2][2] = { { 0 } };
    for (int row = 0; row < 5; row++)
        for (int i = 0; i < 2; i++)
            for (int k = 0; k < 2; k++)
                before[i][k] += a[2 * row + i] * a[2 * row + k];
    blas_reduce_rows(5, 2, a);
    for (int row = 0; row < 2; row++)
        for (int i = 0; i < 2; i++)
            for (int k = 0; k < 2; k++)
                after[i][k] += a[2 * row + i] * a[2 * row + k];
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++)
            assert_true(fabs(after[i][k] - before[i][k]) < 1e-13);
}

static void singular_values_come_descending_of_either_shape(void **state)
{
    (void)state;
    for (size_t turn = 0; turn < 2; turn++) {
        double wide[] = { 3, 0, 0, 0, 0, -5 }, tall[] = { 3, 0, 0, 0, 0, -5 }, values[2];
        assert_true(blas_singular_values(turn ? 3 : 2, turn ? 2 : 3, turn ? tall : wide, values));
        assert_true(fabs(values[0] - 5) < 1e-13 && fabs(values[1] - 3) < 1e-13);
    }
    double nothing[] = { 0, 0, NAN, 0 }, values[2];
    assert_false(blas_singular_values(2, 2, nothing, values));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_leave_the_number_of_threads_alone),
        cmocka_unit_test(products_are_those_of_rows_with_columns_or_with_rows),
        cmocka_unit_test(rows_are_reduced_without_changing_their_squares),
        cmocka_unit_test(singular_values_come_descending_of_either_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
