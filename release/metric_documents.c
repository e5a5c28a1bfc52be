/* What memorization.json, utility.json, fidelity.json and membership.json can hold: every key that
 * the audits write, in the order in which they are written. See metric.h; docs/audit.md,
 * docs/utility.md, docs/fidelity.md and docs/membership.md say what the numbers mean. */
#include "release/metric.h"

#define NUMBER(name)                                                                               \
    {                                                                                              \
        .key = name, .kind = METRIC_NUMBER                                                         \
    }
#define TEXT(name)                                                                                 \
    {                                                                                              \
        .key = name, .kind = METRIC_TEXT                                                           \
    }
#define ONE_OF(name, list)                                                                         \
    {                                                                                              \
        .key = name, .kind = METRIC_TEXT, .values = list                                           \
    }
#define NUMBERS(name)                                                                              \
    {                                                                                              \
        .key = name, .kind = METRIC_NUMBERS                                                        \
    }
#define TEXTS(name)                                                                                \
    {                                                                                              \
        .key = name, .kind = METRIC_TEXTS                                                          \
    }
#define OBJECT(name, table)                                                                        \
    {                                                                                              \
        .key = name, .kind = METRIC_OBJECT, .members = table                                       \
    }
#define OBJECTS(name, table)                                                                       \
    {                                                                                              \
        .key = name, .kind = METRIC_OBJECTS, .members = table                                      \
    }
#define END                                                                                        \
    {                                                                                              \
        .key = NULL                                                                                \
    }

/* A number, and beside it the 95 % interval of it: as two keys, as a pair, or as both. */
#define WITH_BOUNDS(name)                                                                          \
    { .key = name, .kind = METRIC_NUMBER, .bounded = true }, NUMBER("lower95"), NUMBER("upper95")
#define WITH_INTERVAL(name)                                                                        \
    { .key = name, .kind = METRIC_NUMBER, .bounded = true }, NUMBERS("interval")
#define WITH_BOTH(name) WITH_BOUNDS(name), NUMBERS("interval")

/* The lists below are laid out by hand: a key a word, not a key a line. */
/* clang-format off */

#define SUMMARY NUMBER("count"), NUMBER("mean"), NUMBER("minimum"), NUMBER("p1"), NUMBER("p5"), \
                NUMBER("p50"), NUMBER("p95"), NUMBER("p99"), NUMBER("max")
#define SHARE   NUMBER("count"), NUMBER("of"), WITH_BOUNDS("fraction")

typedef const struct metric_member members[];

static members summary = { SUMMARY, END };
static members share = { SHARE, END };
static members estimate = { WITH_INTERVAL("value"), END };

/* ---- memorization.json ----------------------------------------------------------------------- */

static members memorization_tool = { TEXT("name"), TEXT("version"), END };
static members constant = { NUMBER("train"), NUMBER("synthetic"), NUMBER("holdout"), END };
static members counts = {
    NUMBER("synthetic"), NUMBER("train"), NUMBER("holdout"), NUMBER("subjects"),
    NUMBER("holdout_subjects"), OBJECT("constant", constant), END
};
static members nearest = {
    SUMMARY, OBJECT("local_ratio", summary), NUMBER("local"), NUMBER("identical_to_training"),
    NUMBER("identical_to_holdout"), END
};

#define SCALE OBJECT("synthetic", summary), OBJECT("control", summary), \
              OBJECT("smoother", estimate), NUMBER("distance")
static members coarse = { NUMBER("pixels_apart"), SCALE, END };
static members smoothness = { TEXT("measure"), SCALE, OBJECT("coarse", coarse), END };

static members mean_images = { NUMBER("correlation"), NUMBER("best"), NUMBER("alike"), TEXT("change"), END };
static members preparation = {
    OBJECT("farther", estimate), OBJECT("mean_images", mean_images), END
};

static members near_copies = {
    NUMBER("count"), NUMBER("correlation_at_least"), NUMBER("local_ratio_at_most"),
    NUMBER("left_out"), NUMBERS("images"), END
};
#define CONTROL SUMMARY, NUMBER("subjects"), NUMBER("constant"), NUMBER("identical"), \
                OBJECT("local_ratio", summary)
static members one_control = { CONTROL, END };
static members matched_control = {
    CONTROL, TEXT("change"), NUMBER("sigma"), NUMBER("met"), OBJECT("smoothness", smoothness), END
};
static members control = {
    TEXT("used"), OBJECT("near_copies", near_copies), OBJECT("holdout", one_control),
    OBJECT("other_subjects", one_control), OBJECT("matched_holdout", matched_control), END
};

static members across_images = { NUMBER("count"), NUMBER("of"), NUMBER("fraction"), END };
static members across = { OBJECT("images", across_images), OBJECT("subjects", share), END };
static members calibration = {
    TEXT("method"), NUMBER("statistics"), TEXTS("turns"), NUMBER("false_positive_rate"),
    NUMBER("guaranteed_rate"), NUMBER("rate_if_strangers"), NUMBER("exact"),
    NUMBERS("rate_interval"), NUMBER("control_images"), NUMBER("control_images_eliminated"),
    NUMBER("control_images_needed"), NUMBER("supported"), OBJECT("across_subjects", across), END
};

/* The interval is of where the threshold lies. */
static members threshold = {
    WITH_INTERVAL("value"), TEXT("flags"), TEXT("rule"), NUMBER("quantile"), NUMBER("supported"),
    NUMBER("control_images"), NUMBER("control_images_beyond"), NUMBER("control_images_eliminated"),
    NUMBER("limit"), END
};
static members thresholds = {
    OBJECT("disguise_local_ratio", threshold), OBJECT("local_ratio", threshold),
    OBJECT("tile_local_ratio", threshold), OBJECT("lesion_local_ratio", threshold),
    OBJECT("disguise_correlation", threshold), OBJECT("correlation", threshold),
    OBJECT("channel_*", threshold), END
};

static members flagged = {
    SHARE, NUMBER("candidates"), NUMBER("confidence"), NUMBER("expected_by_chance"),
    NUMBER("excess_p"), NUMBER("by_identity"), NUMBER("by_disguise_local_ratio"),
    NUMBER("by_local_ratio"), NUMBER("by_tile_local_ratio"), NUMBER("by_lesion_local_ratio"),
    NUMBER("by_disguise_correlation"), NUMBER("by_correlation"), NUMBER("by_channel_*"),
    NUMBER("by_disguise"), NUMBER("by_tile"), NUMBER("by_lesion"), NUMBER("spared_by_limits"),
    NUMBERS("images"), END
};
static members exposure = {
    TEXT("subject"), NUMBER("held_out"), NUMBER("flagged"), NUMBER("nearest"), END
};

static members matched = { SUMMARY, OBJECT("local_ratio", summary), END };
static members limits = { NUMBER("degrees"), NUMBER("scale"), NUMBER("gamma"), END };
static members transforms = {
    TEXTS("searched"), NUMBER("trials"), OBJECT("limits", limits), OBJECT("nearest", matched),
    OBJECT("control", matched), END
};
static members pieces = {
    TEXTS("searched"), OBJECT("nearest", matched), OBJECT("control", matched), END
};

static members ct = { WITH_INTERVAL("value"), NUMBER("cells"), NUMBER("z_without_cells"), END };
static members dcr = {
    SHARE, NUMBER("expected"), OBJECT("synthetic", summary), OBJECT("holdout", summary), END
};
static members nndr = { OBJECT("synthetic", summary), OBJECT("holdout", summary), END };
static members rate = { WITH_INTERVAL("value"), NUMBER("supported"), END };
static members mia = {
    NUMBER("members"), NUMBER("non_members"), OBJECT("auc", estimate),
    OBJECT("tpr_at_1_percent", rate), OBJECT("tpr_at_0_1_percent", rate), END
};
static members carlini = {
    SHARE, NUMBER("neighbours"), NUMBER("alpha"), OBJECT("holdout", share), END
};
static members companions = {
    OBJECT("ct", ct), OBJECT("authenticity", share), OBJECT("dcr", dcr), OBJECT("nndr", nndr),
    OBJECT("mia", mia), OBJECT("carlini", carlini), END
};

static members duplicates_of = {
    NUMBER("limit"), NUMBER("searched"), NUMBER("pairs"), NUMBER("pairs_complete"),
    NUMBER("images"), NUMBER("groups"), NUMBER("largest_group"), NUMBER("identical"), END
};
static members duplicates = {
    OBJECT("synthetic", duplicates_of), OBJECT("train", duplicates_of), END
};

static members place = { NUMBER("y"), NUMBER("x"), NUMBER("side"), END };
static members tile = {
    OBJECT("synthetic", place), OBJECT("training", place), NUMBER("mirrored"), END
};
static members pairs = {
    NUMBER("synthetic"), NUMBER("training"), NUMBER("holdout"), TEXT("subject"),
    NUMBER("correlation"), NUMBER("local_ratio"), TEXT("transform"), OBJECT("tile", tile),
    TEXTS("flagged_by"), TEXT("png"), END
};
static members histogram = {
    NUMBERS("edges"), NUMBERS("synthetic"), NUMBERS("holdout"), NUMBERS("other_subjects"),
    NUMBERS("matched_holdout"), END
};
static members histograms = {
    OBJECT("correlation", histogram), OBJECT("local_ratio", histogram), END
};

static members audit_settings = {
    NUMBER("quantile"), TEXT("control"), TEXT("control_near_copies"), NUMBER("correlation_limit"),
    NUMBER("local_ratio_limit"), TEXTS("channels"), NUMBER("transforms"), NUMBER("tiles"),
    NUMBER("per_channel"), NUMBER("neighbours"), NUMBER("local"), NUMBER("control_images"),
    NUMBER("carlini"), NUMBER("carlini_alpha"), NUMBER("duplicate"), NUMBER("bootstrap"),
    NUMBER("pairs"), NUMBER("seed"), END
};

static members level = { NUMBER("head"), NUMBER("bounded"), NUMBER("slack"), END };
static members certificate = {
    NUMBER("queries"), NUMBER("pairs"), NUMBER("evaluated"), NUMBER("exhaustive_queries"),
    OBJECTS("levels", level), NUMBER("rounding"), END
};
static members certificates = {
    OBJECT("train", certificate), OBJECT("synthetic", certificate), OBJECT("holdout", certificate),
    END
};

static members input_file = { TEXT("path"), NUMBER("size"), TEXT("sha256"), END };
static members input = {
    TEXT("name"), TEXT("kind"), NUMBER("images"), NUMBER("height"), NUMBER("width"), TEXT("type"),
    NUMBER("subjects_known"), NUMBER("files_count"), TEXT("sha256"), OBJECTS("files", input_file),
    END
};
static members inputs = {
    OBJECT("train", input), OBJECT("synthetic", input), OBJECT("holdout", input), END
};

static members memorization = {
    TEXT("schema"), TEXT("plan_sha256"), TEXT("policy_sha256"), OBJECT("tool", memorization_tool),
    TEXT("engine"), TEXT("device"), TEXT("measure"), TEXTS("channels"), OBJECT("counts", counts),
    TEXTS("warnings"), OBJECT("nearest", nearest), OBJECT("control", control),
    OBJECT("preparation", preparation), OBJECT("smoothness", smoothness),
    OBJECT("calibration", calibration),
    OBJECT("thresholds", thresholds), OBJECT("flagged", flagged), OBJECTS("exposure", exposure),
    OBJECT("transforms", transforms), OBJECT("tiles", pieces), OBJECT("lesions", pieces),
    OBJECT("companions", companions), OBJECT("duplicates", duplicates), OBJECTS("pairs", pairs),
    OBJECT("histograms", histograms), OBJECT("settings", audit_settings),
    OBJECT("certificate", certificates), OBJECT("inputs", inputs), END
};

/* ---- utility.json ---------------------------------------------------------------------------- */

/* A source is one of these words, or the store's name and how much of the real data: the words of
 * audit/utility.c and lib/train. */
static const char *const sources[] = { "real", "synthetic*", "shuffled", "untrained", NULL };
static const char *const networks[] = { "unet", "swin", NULL };
static const char *const augmentations[] = { "none", "usual", NULL };
#define KIND ONE_OF("source", sources), ONE_OF("model", networks), \
             ONE_OF("augmentation", augmentations)
#define METRICS(table) OBJECT("dice", table), OBJECT("hausdorff_max", table), \
                       OBJECT("hausdorff_95", table), OBJECT("precision", table), \
                       OBJECT("recall", table), OBJECT("volume_difference", table)

static members utility_tool = { TEXT("version"), END };
static members training = {
    NUMBER("images"), NUMBER("batch"), NUMBER("rate"), NUMBER("base"), NUMBER("levels"),
    TEXT("swin"), TEXT("algorithms"), NUMBER("checkpoint"), NUMBER("log"), END
};
static members utility_settings = {
    TEXTS("models"), TEXTS("sources"), TEXTS("augmentation"), TEXT("device"), NUMBER("seeds"),
    NUMBER("seed"), NUMBER("bootstrap"), NUMBER("panels"), NUMBER("time_limit"),
    OBJECT("training", training), END
};
static members utility_counts = {
    NUMBER("train_images"), NUMBER("train_subjects"), NUMBER("holdout_images"),
    NUMBER("holdout_subjects"), NUMBER("holdout_scans"), NUMBER("spacing_assumed"),
    NUMBER("synthetic_images"), END
};
static members units = {
    TEXT("dice"), TEXT("hausdorff_max"), TEXT("hausdorff_95"), TEXT("precision"), TEXT("recall"),
    TEXT("volume_difference"), END
};

static members over_seeds = {
    NUMBER("seeds"), NUMBER("subjects_least"), NUMBER("mean"), NUMBER("sd"), END
};
static members empty = { NUMBER("both"), NUMBER("truth"), NUMBER("prediction"), END };
static members mean = { WITH_BOTH("mean"), END };
static members dice = { WITH_BOTH("mean"), NUMBER("sd"), END };
static members class_summary = {
    TEXT("name"), OBJECT("empty", empty), METRICS(over_seeds), OBJECT("dice_interval", mean), END
};
static members region_summary = { TEXT("name"), OBJECT("empty", empty), METRICS(over_seeds), END };
static members kind = {
    KIND, NUMBER("seeds"), NUMBER("images"), OBJECT("dice", dice),
    OBJECTS("classes", class_summary), OBJECTS("regions", region_summary), END
};

static members relative_class = { TEXT("name"), WITH_BOTH("mean"), END };
static members relative = {
    WITH_BOTH("mean"), KIND, OBJECTS("classes", relative_class), OBJECT("difference", mean), END
};

static members over_subjects = { NUMBER("count"), NUMBER("mean"), NUMBER("sd"), END };
static members set_of_trial = {
    TEXT("name"), NUMBER("subjects"), OBJECT("empty", empty), METRICS(over_subjects), END
};
static members trial = {
    KIND, NUMBER("seed"), NUMBER("images"), TEXT("weights"), TEXT("device"), NUMBER("dice"),
    OBJECTS("classes", set_of_trial), OBJECTS("regions", set_of_trial), END
};

static members store_file = { TEXT("path"), TEXT("sha256"), END };
static members store = { TEXT("role"), NUMBER("images"), OBJECTS("files", store_file), END };
static members stores = {
    OBJECT("dataset", store), OBJECT("holdout", store), OBJECT("synthetic*", store), END
};

static members utility = {
    TEXT("schema"), NUMBER("candidates"), OBJECT("tool", utility_tool),
    OBJECT("settings", utility_settings), OBJECT("counts", utility_counts), TEXTS("classes"),
    TEXTS("regions"), TEXTS("never_in_holdout"), OBJECT("units", units), OBJECTS("summary", kind),
    OBJECTS("relative_dice", relative), OBJECTS("runs", trial), OBJECT("inputs", stores), END
};

/* ---- fidelity.json --------------------------------------------------------------------------- */

static members fidelity_settings = { NUMBER("images"), NUMBER("bootstrap"), NUMBER("seed"), END };
static members features = {
    TEXT("network"), TEXT("backbone"), NUMBER("side"), TEXT("preparation"), NUMBER("random"),
    TEXT("weights"), TEXT("device"), NUMBER("count"), NUMBER("classes"), TEXT("no_classes"), END
};
static members real_count = {
    NUMBER("images"), NUMBER("drawn"), NUMBER("outside"), NUMBER("subjects"), END
};
static members synthetic_count = { NUMBER("images"), NUMBER("drawn"), NUMBER("outside"), END };
static members fidelity_counts = {
    OBJECT("train", real_count), OBJECT("synthetic", synthetic_count),
    OBJECT("holdout", real_count), END
};
static members compared_with = {
    NUMBER("images"), NUMBER("reference_images"), NUMBER("reference_subjects"),
    NUMBER("control_subjects"), END
};
static members compared = {
    OBJECT("holdout", compared_with), OBJECT("training", compared_with), END
};

static members bounded_value = { WITH_BOTH("value"), END };
static members measure = {
    WITH_BOTH("value"), OBJECT("control", bounded_value), OBJECT("difference", bounded_value), END
};
static members frechet = { NUMBER("value"), NUMBER("control"), NUMBER("ratio"), END };
static members splits = { NUMBER("count"), NUMBER("mean"), NUMBER("sd"), END };
static members scored = { WITH_BOTH("value"), OBJECT("splits", splits), END };
static members inception_score = {
    WITH_BOTH("value"), OBJECT("splits", splits), OBJECT("control", scored),
    OBJECT("difference", bounded_value), END
};
static members likeness = {
    OBJECT("kid", measure), OBJECT("fid", frechet), OBJECT("precision", measure),
    OBJECT("recall", measure), OBJECT("density", measure), OBJECT("coverage", measure),
    OBJECT("inception_score", inception_score), END
};
static members fidelity_mean = {
    OBJECT("holdout", likeness), OBJECT("training", likeness), END
};
static members fidelity_channel = {
    TEXT("name"), OBJECT("holdout", likeness), OBJECT("training", likeness), END
};

static members fidelity = {
    TEXT("schema"), NUMBER("candidates"), OBJECT("tool", utility_tool),
    OBJECT("settings", fidelity_settings), OBJECT("features", features),
    OBJECT("counts", fidelity_counts), OBJECT("compared", compared), TEXTS("warnings"),
    OBJECT("mean", fidelity_mean), OBJECTS("channels", fidelity_channel),
    OBJECT("inputs", inputs), END
};

/* ---- membership.json ------------------------------------------------------------------------- */

static members membership_settings = {
    NUMBER("draws"), NUMBER("images"), NUMBER("bootstrap"), NUMBER("seed"), END
};
static members membership_model = {
    TEXT("name"), TEXT("score"), NUMBER("step"), NUMBER("side"), NUMBER("mirror"), TEXT("weights"),
    TEXT("checkpoint"), TEXT("checkpoint_sha256"), TEXT("device"), NUMBER("steps"), END
};
static members asked_about = { NUMBER("images"), NUMBER("scored"), NUMBER("subjects"), END };
static members asked_beside = {
    NUMBER("images"), NUMBER("identical"), NUMBER("scored"), NUMBER("subjects"), END
};
static members membership_counts = {
    OBJECT("train", asked_about), OBJECT("holdout", asked_beside), END
};
static members found_rate = { WITH_BOTH("value"), NUMBER("supported"), END };
static members inference = {
    NUMBER("members"), NUMBER("non_members"), NUMBER("tells_apart"), NUMBER("by_chance"),
    OBJECT("auc", bounded_value),
    OBJECT("tpr_at_1_percent", found_rate), OBJECT("tpr_at_0_1_percent", found_rate), END
};
static members half = { OBJECT("auc", bounded_value), END };
static members halves = { OBJECT("images", half), OBJECT("subjects", half), END };
static members reference = {
    NUMBER("reference"), NUMBER("subjects"), TEXT("half"), NUMBER("step"), TEXT("checkpoint"),
    TEXT("checkpoint_sha256"), END
};
static members not_judged = { NUMBER("train"), NUMBER("holdout"), END };
static members calibrated = {
    OBJECTS("references", reference), OBJECT("not_judged", not_judged), OBJECT("images", inference),
    OBJECT("subjects", inference), OBJECT("control", halves), END
};
static members looks = {
    OBJECT("mean", bounded_value), OBJECT("contrast", bounded_value),
    OBJECT("roughness", bounded_value), END
};
static members score_time = { NUMBER("time"), NUMBER("auc"), END };
static members membership_inputs = { OBJECT("train", input), OBJECT("holdout", input), END };

static members membership = {
    TEXT("schema"), NUMBER("candidates"), OBJECT("tool", utility_tool),
    OBJECT("settings", membership_settings), OBJECT("model", membership_model),
    OBJECT("counts", membership_counts), TEXTS("warnings"), OBJECT("images", inference),
    OBJECT("subjects", inference), OBJECT("control", halves), OBJECT("calibrated", calibrated),
    OBJECT("difference", looks),
    OBJECTS("times", score_time), OBJECT("inputs", membership_inputs), END
};

/* clang-format on */

const struct metric_document metric_documents[METRIC_DOCUMENTS] = {
    { "memorization", "audit", memorization },
    { "utility", "utility", utility },
    { "fidelity", "fidelity", fidelity },
    { "membership", "membership", membership },
};
