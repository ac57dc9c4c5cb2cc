/* The checks of the kernels for 8-bit codes: a part of kernels_check.c. */

struct coded {
    const struct code_kernels *k;
    int64_t m, n, K, words, places; /* places: K rounded up to whole groups */
    struct code_rows points, centroids;
    struct code_tile tile;
    struct code_panel panel;
    int32_t *sums, row[CODE_TILE];
};

static void expect_codes(int good, const struct coded *d, const char *what)
{
    comparisons += 1;
    if (good) return;
    printf("codes %s: %s is wrong at m=%d n=%d K=%d\n", d->k->name, what, (int)d->m, (int)d->n, (int)d->K);
    fail();
}

/* A code of at most `max` in magnitude, often an end of the range. */
static int8_t random_code(int max)
{
    const int value = (int)(64 * random_value());
    if (value % 3 == 0) return (int8_t)(value < 0 ? -max : max);
    return (int8_t)(value * max / 128);
}

static struct code_rows make_code_rows(int64_t count, int64_t n, int64_t words, int max)
{
    struct code_rows rows = { allocate(count * 4 * words), 4 * words, 0, 0 };
    for (int64_t i = 0; i < count * 4 * words; ++i) rows.codes[i] = i % (4 * words) < n ? random_code(max) : 0;
    return rows;
}

static void fill_floats(float *values, int64_t count, int power)
{
    for (int64_t i = 0; i < count; ++i) values[i] = ldexpf((float)fabs(random_value()) + 0.01f, power);
}

static struct coded make_coded(const struct code_kernels *k, int64_t m, int64_t n, int64_t K)
{
    struct coded d = { .k = k, .m = m, .n = n, .K = K, .words = (n + 3) / 4 };
    d.places = (K + k->group - 1) / k->group * k->group;
    d.points = make_code_rows(m, n, d.words, CODE_MAX);
    d.centroids = make_code_rows(K, n, d.words, k->centroid_max);
    d.sums = allocate(K * 4);
    for (int64_t i = 0; i < K; ++i) {
        d.sums[i] = 0;
        for (int64_t l = 0; l < n; ++l) d.sums[i] += d.centroids.codes[i * 4 * d.words + l];
    }
    d.tile.words = allocate(d.words * CODE_TILE * 4);
    d.panel = (struct code_panel){ .K = K, .words = d.words, .codes = allocate(d.places * d.words * 4) };
    d.panel.starts = allocate(d.places * 4);
    float **const floats[] = { &d.panel.scales,  &d.panel.norms,  &d.panel.gaps,
                               &d.panel.lengths, &d.panel.errors, &d.panel.residuals };
    for (size_t i = 0; i < sizeof floats / sizeof *floats; ++i) {
        float *const values = *floats[i] = allocate(d.places * 4);
        fill_floats(values, K, i == 1 ? 3 : -4);
        for (int64_t c = K; c < d.places; ++c) values[c] = values[K - 1];
    }
    for (int p = 0; p < CODE_TILE; ++p) d.row[p] = (int32_t)((p * 7 + 3) % m);
    fill_floats(d.tile.scale, CODE_TILE, -4), fill_floats(d.tile.length, CODE_TILE, 0);
    fill_floats(d.tile.error, CODE_TILE, -4), fill_floats(d.tile.residual, CODE_TILE, -6);
    return d;
}

static void release_coded(struct coded *d)
{
    float *const floats[] = { d->panel.scales,  d->panel.norms,  d->panel.gaps,
                              d->panel.lengths, d->panel.errors, d->panel.residuals };
    for (size_t i = 0; i < sizeof floats / sizeof *floats; ++i) release(floats[i]);
    release(d->points.codes), release(d->centroids.codes);
    release(d->tile.words), release(d->sums);
    release(d->panel.codes), release(d->panel.starts);
}

static int32_t product_of(const struct coded *d, int64_t row, int64_t k)
{
    int64_t product = 0;
    for (int64_t l = 0; l < d->n; ++l)
        product += d->points.codes[row * 4 * d->words + l] * d->centroids.codes[k * 4 * d->words + l];
    return (int32_t)product;
}

/* Each word of a tile is the four codes, or these with the offset that unsigned products need. */
static void check_pack_points(struct coded *d)
{
    int good = 1;
    uint32_t offset = 0;
    d->k->pack_points(d->points.codes, 4 * d->words, d->row, d->words, d->tile.words);
    for (int64_t i = 0; i < d->words * CODE_TILE; ++i) {
        uint32_t word;
        memcpy(&word, d->points.codes + (d->row[i % CODE_TILE] * d->words + i / CODE_TILE) * 4, 4);
        word ^= (uint32_t)d->tile.words[i];
        if (i == 0) offset = word;
        good &= word == offset && (word == 0 || word == 0x80808080u);
    }
    expect_codes(good, d, "pack_points");
}

/* Groups of `group` centroids, word by word; the last group is filled up with the last centroid. */
static void check_pack_centroids(struct coded *d, const int32_t *k)
{
    const int G = d->k->group;
    int good = 1;
    d->k->pack_centroids(d->centroids.codes, 4 * d->words, k, &d->panel);
    for (int64_t i = 0; i < d->places * d->words; ++i) {
        const int64_t place = i / (G * d->words) * G + i % G, l = i / G % d->words;
        const int64_t c = place < d->K ? place : d->K - 1;
        good &= !memcmp(&d->panel.codes[i], d->centroids.codes + ((k ? k[c] : c) * d->words + l) * 4, 4);
    }
    expect_codes(good, d, "pack_centroids");
}

/* A multiply-add as the vocabulary of floats has it: fused except in the baseline. */
static float step_of_codes(const struct coded *d, float a, float b, float c)
{
    if (strcmp(d->k->name, "baseline")) return fmaf(a, b, c);
    const volatile float product = a * b;
    return product + c;
}

/* Screens again in plain loops. The tile has its first bounds; OUT bounds and hits as they should be. */
static int64_t screen_plainly(const struct coded *d, float *bound, float *lowest, struct hit *hits, float *lows,
                              float *highs)
{
    const struct code_panel *const c = &d->panel;
    int64_t count = 0;
    for (int p = 0; p < CODE_TILE; ++p) lowest[p] = INFINITY;
    for (int64_t k = 0; k < d->places; ++k) {
        uint32_t points = 0;
        for (int p = 0; p < CODE_TILE; ++p) {
            const volatile float factor = d->tile.scale[p] * c->scales[k];
            const int32_t product = product_of(d, d->row[p], k < d->K ? k : d->K - 1);
            const volatile float score = step_of_codes(d, (float)product, factor, c->norms[k]);
            volatile float lost = d->tile.length[p] * c->errors[k];
            lost = step_of_codes(d, d->tile.error[p], c->lengths[k], lost);
            lost = step_of_codes(d, d->tile.residual[p], c->residuals[k], lost);
            const volatile float low = score - lost, limit = bound[p] + d->tile.slack[p], high = score + lost;
            const volatile float upper = high + c->gaps[k];
            if (low <= limit)
                points |= (uint32_t)1 << p;
            else if (low < lowest[p])
                lowest[p] = low;
            if (upper < bound[p]) bound[p] = upper;
            if (k < d->K) lows[count * CODE_TILE + p] = low, highs[count * CODE_TILE + p] = high;
        }
        if (!points || k >= d->K) continue;
        hits[count].k = (int32_t)k, hits[count++].points = points;
    }
    return count;
}

static void check_code_screen(struct coded *d, float first_bound, float slack)
{
    const int64_t room = d->places;
    struct hit *hits = allocate(room * (int64_t)sizeof(struct hit)),
               *expected = allocate(room * (int64_t)sizeof(struct hit));
    float *values = allocate(room * CODE_TILE * 4), bound[CODE_TILE], lowest[CODE_TILE];
    float *lows = allocate((room + 1) * CODE_TILE * 4), *highs = allocate((room + 1) * CODE_TILE * 4);
    for (int p = 0; p < CODE_TILE; ++p) {
        d->tile.slack[p] = slack * (float)(p % 3);
        bound[p] = d->tile.bound[p] = p % 5 == 4 ? -3e38f : first_bound;
    }
    const int64_t wanted = screen_plainly(d, bound, lowest, expected, lows, highs);
    const int64_t found = d->k->screen(&d->tile, &d->panel, hits, values);
    int good = found == wanted && !memcmp(bound, d->tile.bound, sizeof bound) &&
               !memcmp(lowest, d->tile.lowest_above, sizeof lowest);
    for (int64_t i = 0; good && i < found; ++i) {
        good &= hits[i].k == expected[i].k && hits[i].points == expected[i].points;
        for (int p = 0; p < CODE_TILE; ++p) {
            const float value = values[i * CODE_TILE + p];
            good &= value >= lows[i * CODE_TILE + p] && value <= highs[i * CODE_TILE + p];
        }
    }
    expect_codes(good, d, "screen");
    release(hits), release(values);
    release(expected), release(lows), release(highs);
}

static void check_products(struct coded *d)
{
    const int64_t count = d->m + d->K;
    int32_t *row = allocate(count * 4), *k = allocate(count * 4), *products = allocate(count * 4);
    for (int64_t i = 0; i < count; ++i)
        row[i] = (int32_t)((i * 5 + d->m - 1) % d->m), k[i] = (int32_t)((i * 3 + d->K - 1) % d->K);
    d->k->products(&d->points, &d->centroids, d->sums, d->words, row, k, count, products);
    int good = 1;
    for (int64_t i = 0; i < count; ++i) good &= products[i] == product_of(d, row[i], k[i]);
    expect_codes(good, d, "products");
    release(row), release(k), release(products);
}

static void check_codes(const struct code_kernels *k, int64_t m, int64_t n, int64_t K)
{
    struct coded d = make_coded(k, m, n, K);
    int32_t *reversed = allocate(K * 4);
    for (int64_t i = 0; i < K; ++i) reversed[i] = (int32_t)(K - 1 - i);
    check_pack_points(&d);
    check_pack_centroids(&d, reversed);
    check_pack_centroids(&d, 0);
    check_code_screen(&d, 3e38f, 0);
    check_code_screen(&d, 3e38f, 20);
    check_code_screen(&d, 0, 0);
    check_products(&d);
    release(reversed), release_coded(&d);
}

/* The most features, each at an end of the range: sums as large as they can be. */
static void check_most_features(const struct code_kernels *k)
{
    struct coded d = make_coded(k, 2, CODE_FEATURES_MAX, 2);
    for (int64_t i = 0; i < 2 * d.n; ++i) {
        d.points.codes[i] = i < d.n ? CODE_MAX : -CODE_MAX;
        d.centroids.codes[i] = (int8_t)(i < d.n ? k->centroid_max : -k->centroid_max);
    }
    for (int i = 0; i < 2; ++i) d.sums[i] = (int32_t)((1 - 2 * i) * k->centroid_max * d.n);
    check_pack_points(&d);
    check_pack_centroids(&d, 0);
    check_code_screen(&d, 3e38f, 0);
    check_products(&d);
    release_coded(&d);
}
