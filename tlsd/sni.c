/*
 * sni: two lookups in one hash table: the name, and the name with its first label replaced by `*`.
 */
#include <ctype.h>
#include <stdlib.h>
#include <uthash.h>

#include "libcommon/mem.h"
#include "tlsd/sni.h"

struct sni_node {
	struct sni_entry entry;
	UT_hash_handle hh;
};

struct sni_index {
	struct sni_node *nodes;
};

struct sni_index *
sni_new(void)
{
	return xcalloc(1, sizeof(struct sni_index));
}

void
sni_free(struct sni_index *idx)
{
	struct sni_node *n;
	struct sni_node *next;

	if (idx == NULL)
		return;
	HASH_ITER (hh, idx->nodes, n, next) {
		HASH_DEL(idx->nodes, n);
		free(n->entry.name);
		free(n->entry.certs);
		free(n);
	}
	free(idx);
}

/* Lower case, without a final dot. 0 when it is longer than any host name. */
static size_t
canonical(struct slice name, char out[static SNI_NAME_MAX + 1])
{
	if (name.n > 0 && name.p[name.n - 1] == '.')
		name.n--;
	if (name.n == 0 || name.n > SNI_NAME_MAX)
		return 0;
	for (size_t i = 0; i < name.n; i++)
		out[i] = ascii_lower(name.p[i]);
	out[name.n] = '\0';
	return name.n;
}

static bool
label_char(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_';
}

bool
sni_is_plain(struct slice name)
{
	for (size_t i = 0; i < name.n; i++)
		if (!label_char(name.p[i]) && name.p[i] != '.' && name.p[i] != ':')
			return false;
	return name.n > 0 && name.n <= SNI_NAME_MAX;
}

bool
sni_name_ok(const char *name)
{
	size_t n = strlen(name);
	size_t label = 0;
	bool has_alpha = false;

	if (strncmp(name, "*.", 2) == 0) {
		name += 2;
		n -= 2;
	}
	if (n == 0 || n > SNI_NAME_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (name[i] == '.' ? label == 0 : !label_char(name[i]))
			return false;
		label = name[i] == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
		has_alpha |= isalpha((unsigned char)name[i]) != 0;
	}
	return has_alpha;
}

static struct sni_node *
find_node(const struct sni_index *idx, const char *name, size_t n)
{
	struct sni_node *node;

	HASH_FIND(hh, idx->nodes, name, n, node);
	return node;
}

bool
sni_add(struct sni_index *idx, const char *name, uint32_t cert)
{
	char text[SNI_NAME_MAX + 1];
	size_t n = canonical(slice_str(name), text);

	if (n == 0 || !sni_name_ok(text))
		return false;

	struct sni_node *node = find_node(idx, text, n);

	if (node == NULL) {
		node = xcalloc(1, sizeof(*node));
		node->entry.name = xstrdup(text);
		HASH_ADD_KEYPTR(hh, idx->nodes, node->entry.name, n, node);
	}

	struct sni_entry *e = &node->entry;

	for (uint32_t i = 0; i < e->count; i++)
		if (e->certs[i] == cert)
			return true;
	e->certs = xreallocarray(e->certs, e->count + 1, sizeof(*e->certs));
	e->certs[e->count++] = cert;
	return true;
}

struct sni_entry *
sni_find(struct sni_index *idx, struct slice name)
{
	char text[SNI_NAME_MAX + 2];
	size_t n = canonical(name, text);

	if (n == 0)
		return NULL;

	struct sni_node *node = find_node(idx, text, n);
	char *dot = memchr(text, '.', n);

	/* "*" in place of a first label that is not empty; a name with a `*` of its own never
	 * stands for others. */
	if (node == NULL && dot != NULL && dot > text) {
		*--dot = '*';
		node = find_node(idx, dot, n - (size_t)(dot - text));
	} else if (node != NULL && text[0] == '*') {
		node = NULL;
	}
	return node != NULL ? &node->entry : NULL;
}

struct sni_entry *
sni_get(struct sni_index *idx, const char *name)
{
	char text[SNI_NAME_MAX + 1];
	size_t n = canonical(slice_str(name), text);
	struct sni_node *node = n > 0 ? find_node(idx, text, n) : NULL;

	return node != NULL ? &node->entry : NULL;
}

void
sni_each(struct sni_index *idx, void (*fn)(void *arg, struct sni_entry *e), void *arg)
{
	struct sni_node *n;
	struct sni_node *next;

	HASH_ITER (hh, idx->nodes, n, next)
		fn(arg, &n->entry);
}

int
sni_parse_ext(const uint8_t *p, size_t n, struct slice *name)
{
	int found = 0;

	if (n < 2 || (size_t)(p[0] << 8 | p[1]) != n - 2)
		return -1;
	p += 2;
	n -= 2;
	while (n > 0) {
		if (n < 3)
			return -1;

		size_t len = (size_t)(p[1] << 8 | p[2]);

		if (len == 0 || len > n - 3)
			return -1;
		if (p[0] == 0) { /* host_name */
			*name = slice_make((const char *)p + 3, len);
			if (++found > 1 || memchr(name->p, 0, len) != NULL)
				return -1;
		}
		p += 3 + len;
		n -= 3 + len;
	}
	return found;
}
