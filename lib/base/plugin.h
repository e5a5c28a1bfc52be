/* Plug-ins: parts of the program that bring large libraries along, each loaded when it is first
 * asked for, so that every other command starts without them and works where they are missing.
 *
 *     const struct faiss_module *module = plugin_open("lethe-faiss.so", "lethe_faiss_module", err);
 *
 * They lie beside the binary (in a build folder) or in ../lib/lethe from there (installed), nowhere
 * else: what is loaded into the process that handles patients' images must not depend on a search
 * path. */
#ifndef BASE_PLUGIN_H
#define BASE_PLUGIN_H

#include "base/error.h"

/* What the plug-in exports by this name; NULL and why. It stays loaded. */
const void *plugin_open(const char *file, const char *symbol, struct error *reason) MUST_USE;

#endif
