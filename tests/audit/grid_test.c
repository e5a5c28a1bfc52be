/* Working grids: fast loops against slow ones. */
#include "images.h"

#include "audit/patch.h"

enum { ROWS = 23, COLUMNS = 30, PLANES = 5, CELLS = PLANES * ROWS * COLUMNS };
#define BACKGROUND 7.0f

static struct grid grid_of(size_t planes)
{
    return (struct grid){ .height = ROWS,
                          .width = COLUMNS,
                          .planes = planes,
                          .rows = ROWS,
                          .columns = COLUMNS,
                          .box = 1 };
}

static void draw(float *cells)
{
    for (size_t i = 0; i < CELLS; i++) {
        size_t p = i / (ROWS * COLUMNS), y = i / COLUMNS % ROWS, x = i % COLUMNS;
        cells[i] = (float)(100 + 50 * sin(0.4 * (double)(y + 3 * p)) * cos(0.5 * (double)x) +
                           10 * random_uniform(3, 0, i));
    }
}

/* As it is, by whole cells, a little of everything, and mostly out of the image. */
static const struct pose poses[] = {
    { .centre = { 11, 14.5 } },
    { .centre = { 11, 14.5 }, .shift = { 3, -5 } },
    { .centre = { 10.2, 15.1 }, .shift = { 0.3, -1.7 }, .angle = 0.1, .log_scale = -0.15 },
    { .centre = { 12, 13 }, .shift = { -2.4, 6 }, .angle = -0.5, .log_scale = 0.2 },
    { .centre = { 11, 14.5 }, .shift = { 21.5, 0.5 }, .angle = 0.05 },
};
enum { POSES = sizeof poses / sizeof *poses };

/* Where a cell of the moved image comes from. */
static void place_of(const struct pose *pose, size_t row, size_t column, double at[2])
{
    double shrink = exp(-pose->log_scale), c = shrink * cos(pose->angle),
           s = shrink * sin(pose->angle), dy = (double)row - pose->shift[0] - pose->centre[0],
           dx = (double)column - pose->shift[1] - pose->centre[1];
    at[0] = pose->centre[0] + c * dy - s * dx;
    at[1] = pose->centre[1] + s * dy + c * dx;
}

static double cell_at(const float *plane, long y, long x)
{
    bool within = y >= 0 && x >= 0 && y < ROWS && x < COLUMNS;
    return within ? (double)plane[y * COLUMNS + x] : (double)BACKGROUND;
}

/* Weights of the four cells about t, by lines or by Catmull and Rom's cubic. */
static double weight_of(enum sampling sampling, long tap, double t)
{
    double d = fabs((double)tap - t);
    if (sampling == SAMPLE_LINES)
        return d < 1 ? 1 - d : 0;
    return d < 1   ? 1 - 2.5 * d * d + 1.5 * d * d * d
           : d < 2 ? 2 - 4 * d + 2.5 * d * d - 0.5 * d * d * d
                   : 0;
}

static double slow_sample(const float *plane, const double place[2], enum sampling sampling)
{
    double at[2] = { fmin(fmax(place[0], -1), ROWS), fmin(fmax(place[1], -1), COLUMNS) }, sum = 0;
    long y = (long)floor(at[0]), x = (long)floor(at[1]);
    for (long i = -1; i < 3; i++)
        for (long j = -1; j < 3; j++)
            sum += weight_of(sampling, i, at[0] - (double)y) *
                   weight_of(sampling, j, at[1] - (double)x) * cell_at(plane, y + i, x + j);
    return sum;
}

static void images_are_sampled_as_a_slow_twin_does(void **state)
{
    (void)state;
    static float cells[CELLS], padded[4 * CELLS], moved[CELLS];
    draw(cells);
    for (size_t planes = 1; planes <= PLANES; planes++)
        for (enum sampling sampling = SAMPLE_LINES; sampling <= SAMPLE_CUBICS; sampling++)
            for (size_t p = 0; p < POSES; p++) {
                struct grid grid = grid_of(planes);
                assert_true(grid_padded(&grid) <= sizeof padded / sizeof *padded);
                grid_pad(&grid, cells, BACKGROUND, padded);
                grid_warp(&grid, padded, &poses[p], sampling, moved);
                for (size_t i = 0; i < grid_cells(&grid); i++) {
                    double at[2];
                    place_of(&poses[p], i / COLUMNS % ROWS, i % COLUMNS, at);
                    assert_float_equal(
                        moved[i],
                        slow_sample(cells + i / (ROWS * COLUMNS) * ROWS * COLUMNS, at, sampling),
                        2e-3);
                }
            }
}

static void a_plane_is_sampled_as_if_it_were_alone(void **state)
{
    (void)state;
    static float cells[CELLS], padded[4 * CELLS], moved[CELLS], alone[ROWS * COLUMNS],
        derivatives[4 * CELLS], own[4 * ROWS * COLUMNS];
    struct grid grid = grid_of(PLANES), one = grid_of(1);
    size_t plane = ROWS * COLUMNS;
    draw(cells);
    for (size_t p = 0; p < POSES * PLANES; p++) {
        const struct pose *pose = &poses[p / PLANES];
        size_t at = p % PLANES * plane;
        for (enum sampling sampling = SAMPLE_LINES; sampling <= SAMPLE_CUBICS; sampling++) {
            grid_pad(&grid, cells, BACKGROUND, padded);
            grid_warp(&grid, padded, pose, sampling, moved);
            grid_derivatives(&grid, padded, pose, derivatives);
            grid_pad(&one, cells + at, BACKGROUND, padded);
            grid_warp(&one, padded, pose, sampling, alone);
            grid_derivatives(&one, padded, pose, own);
            assert_memory_equal(moved + at, alone, sizeof alone);
            for (size_t f = 0; f < POSE_FREEDOMS; f++)
                assert_memory_equal(derivatives + f * CELLS + at, own + f * plane, sizeof alone);
        }
    }
}

static void what_comes_from_outside_is_left_out_on_both_sides(void **state)
{
    (void)state;
    static float cells[CELLS], padded[4 * CELLS], moved[CELLS], cropped[CELLS], warped[CELLS];
    struct grid grid = grid_of(PLANES);
    draw(cells);
    grid_pad(&grid, cells, BACKGROUND, padded);
    for (size_t p = 0; p < POSES; p++) {
        size_t outside = 0;
        grid_warp(&grid, padded, &poses[p], SAMPLE_CUBICS, warped);
        grid_place(&grid, padded, cells, &poses[p], SAMPLE_CUBICS, -1, moved, cropped);
        for (size_t i = 0; i < CELLS; i++) {
            double at[2];
            place_of(&poses[p], i / COLUMNS % ROWS, i % COLUMNS, at);
            double rim = fmin(fmin(at[0], ROWS - 1 - at[0]), fmin(at[1], COLUMNS - 1 - at[1]));
            if (fabs(rim + 0.25) < 1e-4)
                continue; /* may be rounded to either side */
            assert_true(moved[i] == (rim > -0.25 ? warped[i] : -1));
            assert_true(cropped[i] == (rim > -0.25 ? cells[i] : -1));
            outside += rim < -0.25;
        }
        assert_int_equal(outside > 0, p > 0);
        grid_crop(&grid, warped, &poses[p], -1, warped); /* in place */
        assert_memory_equal(warped, moved, sizeof moved);
    }
}

/* The pose, one freedom changed by so many cells. */
static struct pose changed(const struct grid *grid, struct pose pose, size_t freedom, double step)
{
    double *const freedoms[POSE_FREEDOMS] = { &pose.shift[0], &pose.shift[1], &pose.angle,
                                              &pose.log_scale };
    *freedoms[freedom] += freedom < 2 ? step : step / grid_reach(grid);
    return pose;
}

static void derivatives_are_those_of_lines(void **state)
{
    (void)state;
    static float cells[CELLS], padded[4 * CELLS], before[CELLS], after[CELLS],
        derivatives[4 * CELLS];
    const double step = 4e-3;
    struct grid grid = grid_of(PLANES);
    draw(cells);
    grid_pad(&grid, cells, BACKGROUND, padded);
    for (size_t p = 2; p < POSES; p++)
        for (size_t f = 0; f < POSE_FREEDOMS; f++) {
            size_t compared = 0;
            struct pose less = changed(&grid, poses[p], f, -step),
                        more = changed(&grid, poses[p], f, step);
            grid_derivatives(&grid, padded, &poses[p], derivatives);
            grid_warp(&grid, padded, &less, SAMPLE_LINES, before);
            grid_warp(&grid, padded, &more, SAMPLE_LINES, after);
            for (size_t i = 0; i < CELLS; i++) {
                double at[2], found = (double)derivatives[f * CELLS + i];
                place_of(&poses[p], i / COLUMNS % ROWS, i % COLUMNS, at);
                if (found == 0 || fabs(at[0] - round(at[0])) < 2 * step ||
                    fabs(at[1] - round(at[1])) < 2 * step)
                    continue; /* cropped, or at a bend */
                assert_float_equal(found, (double)(after[i] - before[i]) / (2 * step), 0.06);
                compared++;
            }
            assert_true(compared > 100);
        }
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void the_background_is_the_median_of_the_rim(void **state)
{
    (void)state;
    float cells[2 * 9 * 9], rim[2 * 9 * 9];
    for (uint64_t t = 0; t < 500; t++) {
        struct grid grid = { .planes = 1 + t % 2, .rows = 1 + t % 9, .columns = 1 + t / 9 % 9 };
        size_t count = 0;
        for (size_t i = 0; i < grid_cells(&grid); i++) {
            size_t y = i / grid.columns % grid.rows, x = i % grid.columns;
            cells[i] = floorf((float)((t % 7 ? 4 : 1e6) * random_uniform(9, t, i)));
            if (y == 0 || x == 0 || y == grid.rows - 1 || x == grid.columns - 1)
                rim[count++] = cells[i];
        }
        qsort(rim, count, sizeof *rim, by_value);
        assert_true(grid_background(&grid, cells) == rim[count / 2]);
    }
}

static double slow_smooth(const float *plane, const double weights[5], long y, long x)
{
    double sum = 0;
    for (long i = 0; i < 5; i++)
        for (long j = 0; j < 5; j++)
            sum += weights[i] * weights[j] * cell_at(plane, y + i - 2, x + j - 2);
    return sum;
}

static void smoothing_is_that_of_its_weights(void **state)
{
    (void)state;
    static float cells[CELLS], smooth[CELLS], blurred[CELLS];
    struct grid grid = grid_of(PLANES);
    draw(cells);
    grid_smooth(&grid, cells, BACKGROUND, smooth);
    grid_blur(&grid, cells, BACKGROUND, blurred);
    for (size_t i = 0; i < CELLS; i++) {
        const float *plane = cells + i / (ROWS * COLUMNS) * ROWS * COLUMNS;
        long y = (long)(i / COLUMNS % ROWS), x = (long)(i % COLUMNS);
        assert_float_equal(
            smooth[i],
            slow_smooth(plane, (const double[]){ 1 / 16., 4 / 16., 6 / 16., 4 / 16., 1 / 16. }, y,
                        x),
            1e-4);
        assert_float_equal(
            blurred[i], slow_smooth(plane, (const double[]){ 0, 1 / 8., 6 / 8., 1 / 8., 0 }, y, x),
            1e-4);
    }
}

static void known_moments_change_no_bit_of_a_correlation(void **state)
{
    (void)state;
    static float cells[CELLS];
    draw(cells);
    for (size_t count = 1; count < CELLS / 2; count += 97) {
        const float *x = cells, *y = cells + CELLS / 2;
        struct float_moments mx = float_moments(x, count), my = float_moments(y, count);
        double r = float_correlation(x, y, count);
        assert_true(r == float_correlation_known(x, &mx, y, &my, count));
        assert_true(count == 1 ? r == 0 : r != 0);
    }
}

/* Of channels 0, 2 and 3, in boxes that do not fit the side. */
static void a_square_is_read_as_it_is_cut_from_the_whole(void **state)
{
    (void)state;
    enum { HEIGHT = 37, WIDTH = 50, MOST = 12 };
    static const enum element_type types[] = { ELEMENT_UINT8, ELEMENT_UINT16, ELEMENT_FLOAT16 };
    static float cells[3 * HEIGHT * WIDTH], cut[3 * MOST * MOST], read[3 * MOST * MOST];
    for (uint64_t t = 0; t < 300; t++) {
        struct image_set set =
            images_make("heads", TEXTURE_SMOOTH_AND_NOISE, 1, 4, HEIGHT, WIDTH, types[t % 3], t);
        struct pixels pixels;
        struct grid grid;
        struct patch_level level;
        pixels_init(&pixels, set.type, 4, (size_t)HEIGHT * WIDTH, 0xd);
        grid_init(&grid, &pixels, HEIGHT, WIDTH, t % 4 ? WIDTH / (1 + t % 4) : WIDTH);
        size_t side = 1 + t % MOST;
        long y = (long)(50 * random_uniform(8, t, 0)) - 10,
             x = (long)(60 * random_uniform(8, t, 1)) - 10;
        assert_true(patch_read(&grid, image_bytes(&set, 0), cells, &level));
        patch_cut(&grid, cells, y, x, side, cut);
        patch_cut_image(&grid, image_bytes(&set, 0), &level, y, x, side, read);
        for (size_t i = 0; i < grid.planes * side * side; i++) {
            long row = y + (long)(i / side % side), column = x + (long)(i % side);
            bool within =
                row >= 0 && column >= 0 && row < (long)grid.rows && column < (long)grid.columns;
            assert_true(read[i] == cut[i]);
            assert_true(cut[i] ==
                        (within ? cells[(i / side / side * grid.rows + (size_t)row) * grid.columns +
                                        (size_t)column]
                                : 0));
        }
        images_free(&set);
    }
}

static void a_cell_is_the_mean_of_its_pixels(void **state)
{
    (void)state;
    enum { HEIGHT = 37, WIDTH = 50 };
    static float cells[2 * HEIGHT * WIDTH];
    struct image_set set =
        images_make("heads", TEXTURE_SMOOTH_AND_NOISE, 1, 2, HEIGHT, WIDTH, ELEMENT_UINT8, 5);
    struct pixels pixels;
    pixels_init(&pixels, set.type, 2, (size_t)HEIGHT * WIDTH, 3);
    for (size_t most = 1; most <= WIDTH; most++) {
        struct grid grid;
        grid_init(&grid, &pixels, HEIGHT, WIDTH, most);
        grid_read(&grid, image_bytes(&set, 0), cells);
        for (size_t i = 0; i < grid_cells(&grid); i++) {
            size_t p = i / (grid.rows * grid.columns), y = i / grid.columns % grid.rows * grid.box,
                   x = i % grid.columns * grid.box, count = 0;
            double sum = 0;
            for (size_t r = y; r < y + grid.box && r < HEIGHT; r++)
                for (size_t c = x; c < x + grid.box && c < WIDTH; c++, count++)
                    sum += (double)pixel_value(&set, 0, (p * HEIGHT + r) * WIDTH + c);
            assert_float_equal(cells[i], sum / (double)count, 1e-4);
        }
    }
    images_free(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_are_sampled_as_a_slow_twin_does),
        cmocka_unit_test(a_plane_is_sampled_as_if_it_were_alone),
        cmocka_unit_test(what_comes_from_outside_is_left_out_on_both_sides),
        cmocka_unit_test(derivatives_are_those_of_lines),
        cmocka_unit_test(the_background_is_the_median_of_the_rim),
        cmocka_unit_test(smoothing_is_that_of_its_weights),
        cmocka_unit_test(a_cell_is_the_mean_of_its_pixels),
        cmocka_unit_test(a_square_is_read_as_it_is_cut_from_the_whole),
        cmocka_unit_test(known_moments_change_no_bit_of_a_correlation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
