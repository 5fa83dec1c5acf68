/* area: tlsd */
/*
 * The server_name extension as it comes off the wire, and what it finds in an index.
 */
#include <assert.h>
#include <stdlib.h>

#include "libcommon/mem.h"
#include "tlsd/sni.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct sni_index *index_of_names;

static void
make_index(void)
{
	index_of_names = sni_new();
	sni_add(index_of_names, "example.com", 0);
	sni_add(index_of_names, "*.example.com", 1);
	sni_add(index_of_names, "a.b", 2);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t *copy = xmalloc(n > 0 ? n : 1); /* of the exact size */
	struct slice name;

	if (index_of_names == NULL)
		make_index();
	memcpy(copy, data, n);
	if (sni_parse_ext(copy, n, &name) == 1) {
		const struct sni_entry *e = sni_find(index_of_names, name);

		assert(name.n > 0 && name.p >= (char *)copy && name.p + name.n <= (char *)copy + n);
		assert(e == NULL || e->count == 1);
	}
	free(copy);
	return 0;
}
