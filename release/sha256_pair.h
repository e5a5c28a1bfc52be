/* Two SHA-256 digests over the same bytes, for little more than the price of one.
 *
 * A tar's files lie on 512-byte boundaries, so the digest of the tar and that of the file that is
 * passing by take in the very same 64-byte blocks, each into a state of its own. Half of SHA-256 is
 * the message schedule, which depends on the block alone; and the rounds of one state are a chain
 * of dependent instructions that leaves a processor with SHA extensions idle half of the time. So
 * the schedule is made once, and the two states' rounds take turns.
 *
 * Here is the compression function and nothing else of SHA-256; where the processor has no SHA
 * extensions, two states of OpenSSL's are fed instead. Its tests hold it against OpenSSL's digests.
 */
#ifndef RELEASE_SHA256_PAIR_H
#define RELEASE_SHA256_PAIR_H

#include "base/digest.h"

struct sha256_pair; /* opaque: an outer digest over everything, an inner one that begins and ends */

struct sha256_pair *sha256_pair_begin(void) MUST_USE;
/* Bytes for the outer digest, and for the inner one while it is open. */
void sha256_pair_add(struct sha256_pair *pair, const void *bytes, size_t size);
/* The inner digest may begin only where the outer one has taken whole blocks of 64 bytes. */
void sha256_pair_open(struct sha256_pair *pair);
struct digest sha256_pair_close(struct sha256_pair *pair);
/* The outer digest; the pair is freed, an inner digest that is still open with it. */
struct digest sha256_pair_end(struct sha256_pair *pair);

/* Whether this processor does it at once. `off` makes it do as if not, for tests. */
bool sha256_pair_is_fast(void);
void sha256_pair_force_plain(bool off);

#endif
