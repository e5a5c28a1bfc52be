/* Of memorization.json: whether synthetic images were prepared as the training images were. Who
 * reads an audit that flags nothing has to know whether it could have flagged anything: images that
 * were turned, cut out, scaled or inverted are far from all patients, and so are copies among them.
 */
#include "audit/document_parts.h"

#include <math.h>

/* From here on the images are said to be farther away than the control's. */
#define FARTHER 0.9
/* Of either set, for the comparison to say anything. */
enum { LEAST_IMAGES = 20 };

/* P(the nearest training image of a synthetic image is farther than that of a control image). */
static struct estimate farther_of(struct audit_run *run, int source)
{
    struct estimate unknown = { NAN, { NAN, NAN } };
    if (source == SOURCE_COUNT)
        return unknown;
    const struct control_values *control = &run->control[source];
    struct sample synthetic = sample_of(run, run->correlation, NULL, count_of(run, SET_SYNTHETIC)),
                  real = sample_of(run, control->correlation,
                                   audit_control_images(run, source).groups, control->count);
    struct bootstrap bootstrap = bootstrap_of(run);
    return synthetic.count < LEAST_IMAGES || real.count < LEAST_IMAGES
               ? unknown
               : probability_below(&synthetic, &real, &bootstrap);
}

struct preparation preparation_of(struct audit_run *run, int source)
{
    return (struct preparation){
        .farther = farther_of(run, source),
        .arrangement = arrangement_of(images_of(run, SET_SYNTHETIC), images_of(run, SET_TRAIN),
                                      run->sets.channels),
    };
}

struct json *preparation_json(const struct preparation *preparation)
{
    const struct arrangement *arrangement = &preparation->arrangement;
    struct json *object = json_new_object(), *means = json_new_object();
    if (isnan(preparation->farther.value))
        json_put_null(object, "farther");
    else
        json_put(object, "farther", estimate_json(preparation->farther));
    json_put_real(means, "correlation", arrangement->as_given);
    json_put_real(means, "best", arrangement->best);
    json_put_bool(means, "alike", !arrangement->notable);
    json_put_string(means, "change", arrangement->notable ? arrangement->change : "none");
    json_put(object, "mean_images", means);
    return object;
}

void warn_of_preparation(struct audit_run *run, const struct preparation *preparation)
{
    const struct arrangement *arrangement = &preparation->arrangement;
    if (arrangement->notable)
        text_format(&run->warnings,
                    "the synthetic images do not lie as the training images do: their mean "
                    "image is most like that of training with %s (correlation %.3f; as given "
                    "%.3f). Copies among them may stay unseen: change them so, and audit again\n",
                    arrangement->change, arrangement->best, arrangement->as_given);
    else if (preparation->farther.value >= FARTHER)
        text_format(&run->warnings,
                    "in %.3g %% of all pairs the synthetic image is farther from its nearest "
                    "training image than the control's is: such images are poor, or were not "
                    "prepared as the training images were (turned, cut out, scaled, other greys, "
                    "channels in another order), and then copies among them stay unseen. Look at "
                    "pairs/\n",
                    100 * preparation->farther.value);
}
