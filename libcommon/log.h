/*
 * log: one event, one line on stderr: `warn upstream_timeout req=7f3a route=api waited_ms=3000`.
 *
 * The event name is stable and stands in the man page; values are escaped, so nothing a peer sends
 * can forge a line. Thread-safe; a line is one write(2). The same record goes to a hook, which the
 * control socket's event stream is fed from. Libraries and parsers return errors and never log.
 */
#ifndef LIBCOMMON_LOG_H
#define LIBCOMMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "libcommon/slice.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

enum log_kind { LOG_KIND_STR, LOG_KIND_INT };

struct log_field {
	const char *key;
	enum log_kind kind;
	struct slice str;
	int64_t num;
};

struct log_record {
	enum log_level level;
	const char *event;
	const struct log_field *fields;
	unsigned count;
	int64_t wall_ms; /* since 1970 */
};

/* Fields for the macros below. */
#define L_STR(k, s)   ((struct log_field){ .key = (k), .kind = LOG_KIND_STR, .str = slice_str(s) })
#define L_SLICE(k, s) ((struct log_field){ .key = (k), .kind = LOG_KIND_STR, .str = (s) })
#define L_INT(k, v)   ((struct log_field){ .key = (k), .kind = LOG_KIND_INT, .num = (int64_t)(v) })

#define LOG_AT(level, event, ...)                                                   \
	do {                                                                        \
		if ((level) >= __atomic_load_n(&log_threshold, __ATOMIC_RELAXED)) { \
			const struct log_field log_f_[] = { __VA_ARGS__ };          \
			log_write((level), (event), log_f_,                         \
				(unsigned)(sizeof(log_f_) / sizeof(log_f_[0])));    \
		}                                                                   \
	} while (0)

/* error: users were hurt. warn: look soon. info: life cycle. debug: free when off. */
#define LOG_ERROR(event, ...) LOG_AT(LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define LOG_WARN(event, ...)  LOG_AT(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define LOG_INFO(event, ...)  LOG_AT(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define LOG_DEBUG(event, ...) LOG_AT(LOG_LEVEL_DEBUG, event, __VA_ARGS__)

/* Nothing below it is written. Read without a lock; set it with log_set_level. */
extern enum log_level log_threshold;

void log_set_level(enum log_level level);
const char *log_level_name(enum log_level level);
/* "debug" "info" "warn" "error" */
bool log_level_parse(struct slice s, enum log_level *out);
/* A word in front of each line, such as "routerd.0"; the string must stay. NULL for none. */
void log_set_name(const char *name);
/*
 * From now on a log that nobody reads (a full pipe, a stopped terminal) costs lines, not time: they
 * are counted, and `log_lost lines=N` stands where they are missing. Before there are threads, and
 * while we may still open what stderr is.
 */
void log_never_wait(void);
/* Lines that could not be written, since the start. */
uint64_t log_lost(void);
/* Called for every record of level info and above, from the thread that logs. NULL for none. */
void log_set_hook(void (*hook)(void *arg, const struct log_record *rec), void *arg);
void log_write(
	enum log_level level, const char *event, const struct log_field *fields, unsigned count);

/*
 * For events that a peer can trigger: at most `burst` per second and struct; log_allow says whether
 * to log now and, when it opens again, hands out how many were held back. Zero-initialise with the
 * burst.
 */
struct log_limit {
	uint32_t burst;
	uint32_t used;
	uint32_t dropped;
	int64_t second;
};

bool log_allow(struct log_limit *limit, uint32_t *dropped);

#endif
