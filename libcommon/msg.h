/*
 * msg: one HTTP message, whatever version carried it: start line, ordered fields, framing,
 * trailers. All text is slices into memory of the parser's caller; a message owns nothing.
 */
#ifndef LIBCOMMON_MSG_H
#define LIBCOMMON_MSG_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcommon/slice.h"

/* Methods with a meaning of their own; all others are METHOD_OTHER and travel by their name. */
enum method {
	METHOD_OTHER,
	METHOD_GET,
	METHOD_HEAD,
	METHOD_POST,
	METHOD_PUT,
	METHOD_DELETE,
	METHOD_OPTIONS,
	METHOD_PATCH,
	METHOD_TRACE,
	METHOD_CONNECT,
};

/* RFC 9110 §9.2.2: may be repeated without a second effect. Unknown methods may not. */
bool method_is_idempotent(enum method m);

/* Known field names; the table in field_names.def is their only list. FIELD_OTHER is 0. */
enum field_id {
	FIELD_OTHER,
#define FIELD(id, name, flags) FIELD_##id,
#include "libcommon/field_names.def"
#undef FIELD
	FIELD_COUNT
};

/* Flags of field_names.def. */
enum {
	FIELD_HOP = 1,    /* hop-by-hop by name: never forwarded as it came (RFC 9110 §7.6.1) */
	FIELD_SINGLE = 2, /* may stand once only */
	FIELD_FRAMING =
		4, /* decides framing or routing: may never be a trailer (RFC 9110 §6.5.1) */
	FIELD_IDENTITY = 8, /* asserted by proxies (X-Forwarded-*, Forwarded, X-Real-IP): clients'
			       own copies and look-alikes are judged by routerd/forward.c */
};

/* "Content-Length"; the canonical spelling of a known name. */
struct slice field_name(enum field_id id);
unsigned field_flags(enum field_id id);

struct field {
	struct slice name;
	struct slice value; /* trimmed of OWS */
	uint16_t id;        /* enum field_id */
	uint16_t flags;     /* of the name's row, plus MSG_FIELD_DROP */
};

/* Set on a field that was nominated by Connection or must not travel for another reason. */
#define MSG_FIELD_DROP 0x100

enum body_kind {
	BODY_NONE,
	BODY_LENGTH, /* content_length bytes */
	BODY_CHUNKED,
	BODY_UNTIL_CLOSE, /* responses only */
};

enum target_form { TARGET_ORIGIN, TARGET_ABSOLUTE, TARGET_AUTHORITY, TARGET_ASTERISK };

struct msg {
	/* request */
	enum method method;
	enum target_form target_form;
	struct slice method_name;
	struct slice target;    /* as the client spelled it, whole */
	struct slice scheme;    /* absolute-form and HTTP/2; else empty */
	struct slice authority; /* host[:port] that the request is for: from the target, else Host;
				   may be empty */
	struct slice path; /* origin part of the target, without query: "/a%20b"; "*" for OPTIONS *,
			      empty for CONNECT */
	struct slice query; /* after the first '?', without it */
	bool has_query;
	/* response */
	uint16_t status;
	struct slice reason;
	/* both */
	uint8_t version_major;
	uint8_t version_minor;
	bool keep_alive;      /* what version and Connection say of the sender's wish */
	bool expect_continue; /* Expect: 100-continue */
	bool has_upgrade;     /* Connection nominates upgrade, and Upgrade is not empty */
	bool is_bad_expect;   /* an expectation that is not 100-continue: 417 */
	enum body_kind body;
	uint64_t content_length; /* BODY_LENGTH; with BODY_NONE what a HEAD or 304 answer says */
	struct slice upgrade;    /* value of Upgrade */
	struct field *fields;
	uint16_t field_count;
	uint16_t field_cap; /* given by the caller with `fields` */
	size_t head_len;    /* bytes of the head, blank line included */
	/* Index + 1 of the first field with this id, 0 when absent: one look instead of a walk. */
	uint8_t first[FIELD_COUNT];
};

/* Of a request: do bytes follow its head? */
static inline bool
msg_has_body(const struct msg *m)
{
	return m->body == BODY_CHUNKED || (m->body == BODY_LENGTH && m->content_length > 0);
}

/* Make m empty, with room for `cap` fields (at most 255) in memory of the caller's. */
void msg_init(struct msg *m, struct field *fields, uint16_t cap);

/* The first field of a known name, or NULL. */
static inline const struct field *
msg_field(const struct msg *m, enum field_id id)
{
	return m->first[id] ? &m->fields[m->first[id] - 1] : NULL;
}

/*
 * One field more, behind the others; there is room for it. Its flags are those of its row, for the
 * caller to change.
 */
static inline struct field *
msg_add(struct msg *m, enum field_id id, struct slice name, struct slice value)
{
	struct field *f = &m->fields[m->field_count];

	assert(m->field_count < m->field_cap);
	m->field_count++;
	*f = (struct field){
		.name = name,
		.value = value,
		.id = (uint16_t)id,
		.flags = (uint16_t)field_flags(id),
	};
	/* One that stands too far behind is found by its walk alone. */
	if (id != FIELD_OTHER && m->first[id] == 0 && m->field_count <= UINT8_MAX)
		m->first[id] = (uint8_t)m->field_count;
	return f;
}

/* The first field called `name` (any case), or NULL: for names that are not in the table. */
const struct field *msg_find(const struct msg *m, struct slice name);

/* enum field_id of a name in any case; FIELD_OTHER when it is not in the table. Constant time in
 * the table's size. */
enum field_id field_id_of(struct slice name);

/* Next member of a comma-separated list (RFC 9110 §5.6.1), trimmed, empty ones skipped; a comma in
 * a quoted string belongs to its member. false at the end. */
bool field_list_next(struct slice *rest, struct slice *member);

#endif
