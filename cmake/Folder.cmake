# lethe_folder(NAME [VIEW folder] SOURCES a.c b.c [USES folder...] [LINK library...])
#
# Makes the static library NAME out of one source folder. Its headers are reached as
# "NAME/header.h" and only by targets that list NAME under USES: each folder gets an include
# directory of its own that holds nothing but a link to it. A folder of two targets gives the second
# its own name as VIEW.

set(LETHE_WARNINGS -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
    -Wold-style-definition -Wpointer-arith -Wwrite-strings -Wvla -Wformat=2 -Wundef
    -Wno-missing-field-initializers) # rows of tables leave out what is zero
if(CMAKE_C_COMPILER_ID STREQUAL GNU)
  list(APPEND LETHE_WARNINGS -Wno-format-truncation) # messages may be cut
endif()
if(LETHE_WERROR)
  list(APPEND LETHE_WARNINGS -Werror)
endif()

# Flags that every target of ours shares. Contraction is off so that results do not depend on
# whether a compiler chose fused multiply-add; folders that want it switch it on for themselves.
add_library(lethe_flags INTERFACE)
target_compile_options(lethe_flags INTERFACE ${LETHE_WARNINGS} -ffp-contract=off -fno-math-errno
                       -fstack-protector-strong -fvisibility=hidden)
target_compile_definitions(lethe_flags INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64
                           LETHE_VERSION="${PROJECT_VERSION}")
if(LETHE_SANITIZE)
  target_compile_options(lethe_flags INTERFACE -fsanitize=${LETHE_SANITIZE} -fno-sanitize-recover=all
                         -fno-omit-frame-pointer)
  target_link_options(lethe_flags INTERFACE -fsanitize=${LETHE_SANITIZE})
  target_compile_definitions(lethe_flags INTERFACE LETHE_SANITIZED)
endif()

if(LETHE_FUZZ)
  target_compile_options(lethe_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

function(lethe_folder NAME)
  cmake_parse_arguments(ARG "" "VIEW" "SOURCES;USES;LINK" ${ARGN})
  if(NOT ARG_VIEW)
    set(ARG_VIEW ${NAME})
  endif()
  add_library(${NAME} STATIC ${ARG_SOURCES})
  set(view ${CMAKE_BINARY_DIR}/include/${NAME})
  file(MAKE_DIRECTORY ${view})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${view}/${ARG_VIEW} SYMBOLIC)
  target_include_directories(${NAME} PUBLIC ${view})
  target_link_libraries(${NAME} PUBLIC ${ARG_USES} PRIVATE lethe_flags ${ARG_LINK})
endfunction()
