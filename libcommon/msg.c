/*
 * msg: the table of known field names with its hash, and what needs a message but no parser. Pure;
 * the hash is filled once, before main, from field_names.def, so that a new row needs no edit here.
 */
#include "libcommon/msg.h"

#include <assert.h>

struct field_row {
	struct slice name;
	uint16_t flags;
};

static const struct field_row rows[FIELD_COUNT] = {
	[FIELD_OTHER] = { { "", 0 }, 0 },
#define FIELD(id, name, flags) [FIELD_##id] = { { name, sizeof(name) - 1 }, flags },
#include "libcommon/field_names.def"
#undef FIELD
};

/* Open addressing: sparse, so that an unknown name mostly meets an empty slot at once. */
enum { HASH_SIZE = 512 };

static uint8_t hash_slots[HASH_SIZE];

_Static_assert(FIELD_COUNT < 128, "the hash of field names would fill up: enlarge HASH_SIZE");

/* Of the length and three letters; s is not empty. The case bit is masked out, right or wrong. */
static inline unsigned
name_hash(struct slice s)
{
	unsigned first = (unsigned char)s.p[0] | 0x20;
	unsigned middle = (unsigned char)s.p[s.n / 2] | 0x20;
	unsigned last = (unsigned char)s.p[s.n - 1] | 0x20;

	return ((unsigned)s.n * 37 + first * 5 + middle * 11 + last * 59) % HASH_SIZE;
}

static void __attribute__((constructor)) fill_hash(void)
{
	for (unsigned id = 1; id < FIELD_COUNT; id++) {
		unsigned at = name_hash(rows[id].name);

		while (hash_slots[at] != 0)
			at = (at + 1) % HASH_SIZE;
		hash_slots[at] = (uint8_t)id;
	}
}

enum field_id
field_id_of(struct slice name)
{
	if (name.n == 0)
		return FIELD_OTHER;
	for (unsigned at = name_hash(name); hash_slots[at] != 0; at = (at + 1) % HASH_SIZE)
		if (slice_caseeq(name, rows[hash_slots[at]].name))
			return (enum field_id)hash_slots[at];
	return FIELD_OTHER;
}

struct slice
field_name(enum field_id id)
{
	assert((unsigned)id < FIELD_COUNT);
	return rows[id].name;
}

unsigned
field_flags(enum field_id id)
{
	assert((unsigned)id < FIELD_COUNT);
	return rows[id].flags;
}

bool
method_is_idempotent(enum method m)
{
	switch (m) {
	case METHOD_GET:
	case METHOD_HEAD:
	case METHOD_PUT:
	case METHOD_DELETE:
	case METHOD_OPTIONS:
	case METHOD_TRACE: return true;
	case METHOD_OTHER:
	case METHOD_POST:
	case METHOD_PATCH:
	case METHOD_CONNECT: break;
	}
	return false;
}

enum { CLEAR_STEP = 64 };

void
msg_init(struct msg *m, struct field *fields, uint16_t cap)
{
	assert(cap <= 255);
	/* In small parts, each a few plain stores: of a large one compilers make a string
	 * instruction that is slow to start. */
	char *p = (char *)m;

	for (size_t i = 0; i + CLEAR_STEP <= sizeof(*m); i += CLEAR_STEP)
		memset(p + i, 0, CLEAR_STEP);
	memset(p + sizeof(*m) - sizeof(*m) % CLEAR_STEP, 0, sizeof(*m) % CLEAR_STEP);
	m->fields = fields;
	m->field_cap = cap;
}

const struct field *
msg_find(const struct msg *m, struct slice name)
{
	enum field_id id = field_id_of(name);

	if (id != FIELD_OTHER)
		return msg_field(m, id);
	for (unsigned i = 0; i < m->field_count; i++)
		if (m->fields[i].id == FIELD_OTHER && slice_caseeq(m->fields[i].name, name))
			return &m->fields[i];
	return NULL;
}

/* Where the member at the front of s ends: at a comma that is not in a quoted string. */
static size_t
member_end(struct slice s)
{
	bool is_quoted = false;
	size_t i;

	for (i = 0; i < s.n && (is_quoted || s.p[i] != ','); i++) {
		if (s.p[i] == '"')
			is_quoted = !is_quoted;
		else if (is_quoted && s.p[i] == '\\' && i + 1 < s.n)
			i++;
	}
	return i;
}

bool
field_list_next(struct slice *rest, struct slice *member)
{
	while (rest->n > 0) {
		size_t end = member_end(*rest);

		*member = slice_trim(slice_make(rest->p, end));
		*rest = slice_skip(*rest, end + 1);
		if (member->n > 0)
			return true;
	}
	return false;
}
