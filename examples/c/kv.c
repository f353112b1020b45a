/* examples/c/kv.c: a key-value store for the command line, in one file: how a C program uses Keel.
 *
 *     kv FILE put KEYSPACE KEY VALUE     stores a value
 *     kv FILE get KEYSPACE KEY           prints it
 *     kv FILE del KEYSPACE KEY           removes it
 *     kv FILE list KEYSPACE [PREFIX]     prints every key and value, in order
 *     kv FILE load KEYSPACE              stores each line "KEY<tab>VALUE" of standard input, all of them or none
 *     kv FILE keyspaces                  prints the names
 *     kv FILE stats                      prints some counters
 *
 * Build it against an installed Keel:  cc kv.c $(pkg-config --cflags --libs keel) -o kv
 * or with the single file, from the top of the source tree:
 *   cc -O2 -fno-strict-aliasing -I capi/include examples/c/kv.c go/keel.c -lpthread -o kv */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <keel/keel.h>

/* Every fallible call takes a keel_error last; a program of this size needs one. */
static keel_error error;

static int failed(const char *what) {
  fprintf(stderr, "kv: %s: %s (%s)\n", what, error.message, keel_status_name(error.code));
  return 1;
}

/* A transaction is run again from its beginning when another one got in between (keel_status_is_retryable). */
typedef keel_status (*action)(keel_txn txn, keel_keyspace keyspace, void *context);

static keel_status transact(keel_db db, keel_keyspace keyspace, action run, void *context) {
  for (;;) {
    keel_txn txn;
    keel_status status = keel_begin(db, NULL, &txn, &error);
    if (status != KEEL_OK) return status;
    status = run(txn, keyspace, context);
    if (status == KEEL_OK) {
      status = keel_commit(txn, NULL, &error);
    } else {
      keel_rollback(txn, NULL); /* the error that counts is the one that we have */
    }
    if (!keel_status_is_retryable(status)) return status;
  }
}

typedef struct row {
  const char *key, *value;
} row;

static keel_status put(keel_txn txn, keel_keyspace keyspace, void *context) {
  const row *r = context;
  return keel_put(txn, keyspace, r->key, strlen(r->key), r->value, strlen(r->value), &error);
}

static keel_status del(keel_txn txn, keel_keyspace keyspace, void *context) {
  const row *r = context;
  return keel_del(txn, keyspace, r->key, strlen(r->key), &error);
}

static keel_status get(keel_txn txn, keel_keyspace keyspace, void *context) {
  const row *r = context;
  const void *value; /* borrowed: valid until the next call with this transaction */
  size_t size;
  keel_status status = keel_get(txn, keyspace, r->key, strlen(r->key), &value, &size, &error);
  if (status != KEEL_OK) return status;
  fwrite(value, 1, size, stdout);
  putchar('\n');
  return KEEL_OK;
}

/* Rows come a thousand at a time: one call, columns of keys and values. */
static keel_status print_rows(keel_cursor cursor, keel_batch batch) {
  for (;;) {
    keel_status status = keel_cursor_next_batch(cursor, 1000, 0, batch, &error);
    if (status != KEEL_OK) return status;
    keel_batch_view rows = KEEL_BATCH_VIEW_INIT;
    status = keel_batch_data(batch, &rows, &error);
    if (status != KEEL_OK || rows.count == 0) return status;
    for (uint64_t i = 0; i < rows.count; i++) {
      const char *key = (const char *)rows.keys + rows.key_offsets[i];
      const char *value = (const char *)rows.values + rows.value_offsets[i];
      fwrite(key, 1, (size_t)(rows.key_offsets[i + 1] - rows.key_offsets[i]), stdout);
      putchar('\t');
      fwrite(value, 1, (size_t)(rows.value_offsets[i + 1] - rows.value_offsets[i]), stdout);
      putchar('\n');
    }
  }
}

static keel_status list(keel_txn txn, keel_keyspace keyspace, void *context) {
  const row *r = context;
  keel_cursor_options options = KEEL_CURSOR_OPTIONS_INIT;
  options.prefix = r->key;
  options.prefix_size = r->key != NULL ? strlen(r->key) : 0;
  keel_cursor cursor;
  keel_status status = keel_cursor_open(txn, keyspace, &options, &cursor, &error);
  if (status != KEEL_OK) return status;
  keel_batch batch;
  status = keel_batch_new(&batch, &error);
  if (status == KEEL_OK) {
    status = print_rows(cursor, batch);
    keel_batch_free(batch, NULL);
  }
  keel_cursor_close(cursor, NULL);
  return status;
}

static keel_status load(keel_txn txn, keel_keyspace keyspace, void *context) {
  char line[65536];
  FILE *in = context;
  rewind(in); /* the transaction may be run again */
  while (fgets(line, sizeof line, in) != NULL) {
    char *tab = strchr(line, '\t');
    if (tab == NULL) continue;
    *tab = '\0';
    tab[1 + strcspn(tab + 1, "\n")] = '\0';
    keel_status status = keel_put(txn, keyspace, line, strlen(line), tab + 1, strlen(tab + 1), &error);
    if (status != KEEL_OK) return status;
  }
  return KEEL_OK;
}

static int keyspaces(keel_db db) {
  keel_batch batch;
  keel_batch_view names = KEEL_BATCH_VIEW_INIT;
  if (keel_batch_new(&batch, &error) != KEEL_OK) return failed("keyspaces");
  keel_status status = keel_keyspace_list(db, batch, &error);
  if (status == KEEL_OK) status = keel_batch_data(batch, &names, &error);
  for (uint64_t i = 0; status == KEEL_OK && i < names.count; i++) {
    const char *name = (const char *)names.keys + names.key_offsets[i];
    printf("%.*s\n", (int)(names.key_offsets[i + 1] - names.key_offsets[i]), name);
  }
  keel_batch_free(batch, NULL);
  return status == KEEL_OK ? 0 : failed("keyspaces");
}

static int stats(keel_db db) {
  keel_stats s = KEEL_STATS_INIT;
  if (keel_get_stats(db, &s, &error) != KEEL_OK) return failed("stats");
  printf("keyspaces %" PRIu64 ", file %" PRIu64 " bytes (%" PRIu64 " free), cache %" PRIu64 " bytes\n", s.keyspaces,
         s.file_bytes, s.file_free, s.cache_resident);
  printf("not in the file's trees yet: keys %" PRIu64 ", log %" PRIu64 " bytes\n", s.delta_keys,
         s.log_tail - s.log_start);
  return 0;
}

static int usage(void) {
  fputs(
      "usage: kv FILE put KEYSPACE KEY VALUE | get KEYSPACE KEY | del KEYSPACE KEY | list KEYSPACE [PREFIX]\n"
      "       kv FILE load KEYSPACE < LINES | keyspaces | stats\n",
      stderr);
  return 2;
}

/* The commands that work on one keyspace: name, number of arguments after the keyspace, what to do. */
static const struct command {
  const char *name;
  int least, most;
  action run;
} commands[] = {{"put", 2, 2, put}, {"get", 1, 1, get}, {"del", 1, 1, del}, {"list", 0, 1, list}, {"load", 0, 0, load}};

static int run_command(keel_db db, int argc, char **argv) {
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
    const struct command *c = &commands[i];
    if (strcmp(argv[2], c->name) != 0 || argc - 4 < c->least || argc - 4 > c->most) continue;
    keel_keyspace keyspace;
    row r = {argc > 4 ? argv[4] : NULL, argc > 5 ? argv[5] : NULL};
    if (keel_keyspace_open(db, argv[3], strlen(argv[3]), NULL, &keyspace, &error) != KEEL_OK) return failed(argv[3]);
    keel_status status = transact(db, keyspace, c->run, c->run == load ? (void *)stdin : (void *)&r);
    keel_keyspace_close(keyspace, NULL);
    return status == KEEL_OK ? 0 : failed(c->name);
  }
  if (argc == 3 && strcmp(argv[2], "keyspaces") == 0) return keyspaces(db);
  if (argc == 3 && strcmp(argv[2], "stats") == 0) return stats(db);
  return usage();
}

int main(int argc, char **argv) {
  if (argc < 3) return usage();
  keel_db db;
  if (keel_open(argv[1], NULL, &db, &error) != KEEL_OK) return failed("open");
  int result = run_command(db, argc, argv);
  if (keel_close(db, &error) != KEEL_OK) return failed("close");
  return result;
}
