/* The few functions of FAISS' C API that faiss_engine.c calls, for systems that ship its headers
 * but not its library libfaiss_c. Declared by FAISS' own headers, so a difference does not compile.
 */
#include <faiss/IndexFlat.h>

extern "C" {
#include <faiss/c_api/IndexFlat_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/error_c.h>
}

#include <exception>
#include <string>

static thread_local std::string last_error;

/* Runs the call; an exception must not reach C. */
template <typename Call> static int guarded(Call call)
{
    try {
        call();
        return OK;
    } catch (const std::exception &exception) {
        last_error = exception.what();
        return STD_EXCEPT;
    } catch (...) {
        last_error = "an exception of unknown kind";
        return UNKNOWN_EXCEPT;
    }
}

extern "C" {

const char *faiss_get_last_error()
{
    return last_error.c_str();
}

int faiss_IndexFlatIP_new_with(FaissIndexFlatIP **index, idx_t dimensions)
{
    return guarded([=] {
        *index = reinterpret_cast<FaissIndexFlatIP *>(
            static_cast<faiss::Index *>(new faiss::IndexFlatIP(dimensions)));
    });
}

void faiss_Index_free(FaissIndex *index)
{
    delete reinterpret_cast<faiss::Index *>(index);
}

int faiss_Index_add(FaissIndex *index, idx_t count, const float *vectors)
{
    return guarded([=] { reinterpret_cast<faiss::Index *>(index)->add(count, vectors); });
}

int faiss_Index_search(const FaissIndex *index, idx_t count, const float *vectors, idx_t k,
                       float *scores, idx_t *ids)
{
    return guarded([=] {
        reinterpret_cast<const faiss::Index *>(index)->search(count, vectors, k, scores, ids);
    });
}
}
