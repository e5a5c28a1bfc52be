# OpenBLAS by name: libblas may be the reference implementation, tens of times slower. It is never
# linked, for its constructor would run before every command (audit/blas.c loads it when it is needed,
# by the name below which it was built against), so only its headers are for the compiler.
#
#   OPENBLAS_INCLUDE_DIRS   cblas.h
#   OPENBLAS_FILE           what FAISS is linked with
#   OPENBLAS_SONAME         what is loaded
pkg_check_modules(OPENBLAS REQUIRED openblas)
find_library(OPENBLAS_FILE openblas HINTS ${OPENBLAS_LIBRARY_DIRS} REQUIRED)
execute_process(COMMAND ${CMAKE_OBJDUMP} -p ${OPENBLAS_FILE} OUTPUT_VARIABLE headers COMMAND_ERROR_IS_FATAL ANY)
if(NOT headers MATCHES "SONAME +([^ \n]+)")
  message(FATAL_ERROR "${OPENBLAS_FILE} has no name to load it by (SONAME); is it a shared library?")
endif()
set(OPENBLAS_SONAME ${CMAKE_MATCH_1})

# Programs in the build folder find one that lies elsewhere than where the system looks.
if(NOT OPENBLAS_FILE MATCHES "^/usr/lib/")
  list(APPEND CMAKE_BUILD_RPATH ${OPENBLAS_LIBRARY_DIRS})
endif()
