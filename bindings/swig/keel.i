/* keel.i: the one SWIG interface of Keel, for Python, Go and Node.
 *
 * It is made of three parts. The prototypes, constants and their documentation come from api.gen.i, which is
 * generated from bindings/api/keel.yml: a new function of the ABI is wrapped by being described there. flat.i adds
 * the few functions whose C form takes an option struct, as functions with flat arguments. The typemaps of the target
 * language say how an argument crosses the border; they go by the names of the parameters, which keel.yml keeps
 * systematic.
 *
 * Everything is a flat function on integer handles: SWIG makes no proxy class, so nothing on the other side owns a C
 * pointer. No raw function may let a borrowed pointer out: what the C function lends is copied inside the wrapper, in
 * the same call that protects it, or pinned by a view. README.md says what a typemap file must provide. */
%module raw

%{
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "keel.h"
%}

%include "stdint.i"
%include "records.gen.i"

/* Raw names carry no prefix: keel_commit is raw.commit (Go: Commit). */
%rename("%(strip:[keel_])s") "";

/* Replaced by flat.i. */
%ignore keel_open;
%ignore keel_keyspace_open;
%ignore keel_begin;
%ignore keel_load_begin;
%ignore keel_cursor_open;
%ignore keel_check_problem;

#if defined(SWIGPYTHON)
%include "python.i"
#elif defined(SWIGGO)
%include "go.i"
#elif defined(SWIGJAVASCRIPT)
%include "node.i"
#else
#error "keel.i knows Python, Go and JavaScript"
#endif

/* Calls that may wait for a disk, a lock or another thread, or that run long. */
KEEL_BLOCKING(keel_flat_open)
KEEL_BLOCKING(keel_flat_keyspace_open)
KEEL_BLOCKING(keel_close)
KEEL_BLOCKING(keel_flush)
KEEL_BLOCKING(keel_make_checkpoint)
KEEL_BLOCKING(keel_compact)
KEEL_BLOCKING(keel_verify_begin)
KEEL_BLOCKING(keel_salvage_begin)
KEEL_BLOCKING(keel_check_step)
KEEL_BLOCKING(keel_check_close)
KEEL_BLOCKING(keel_flat_load_begin)
KEEL_BLOCKING(keel_load_put)
KEEL_BLOCKING(keel_load_batch)
KEEL_BLOCKING(keel_load_finish)
KEEL_BLOCKING(keel_load_end)
KEEL_BLOCKING(keel_value_begin)
KEEL_BLOCKING(keel_value_write)
KEEL_BLOCKING(keel_value_finish)
KEEL_BLOCKING(keel_value_end)
KEEL_BLOCKING(keel_keyspace_close)
KEEL_BLOCKING(keel_keyspace_drop)
KEEL_BLOCKING(keel_commit)
KEEL_BLOCKING(keel_rollback)
KEEL_BLOCKING(keel_cursor_close)
KEEL_BLOCKING(keel_get_many)
KEEL_BLOCKING(keel_del_range)
KEEL_BLOCKING(keel_write_batch)
KEEL_BLOCKING(keel_cursor_next_batch)
KEEL_BLOCKING(keel_cursor_prev_batch)

%include "api.gen.i"
%include "flat.i"
