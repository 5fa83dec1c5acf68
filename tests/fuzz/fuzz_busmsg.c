/* area: libcommon */
/* What decodes can be encoded again, and then says the same. */
#include <stdlib.h>
#include <string.h>

#include "libcommon/busmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool ok)
{
	if (!ok)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a;
	struct busmsg m;
	struct busmsg again;
	struct err err;
	struct sbuf out = { 0 };
	char *exact = malloc(size ? size : 1);

	memcpy(exact, data, size);
	arena_init(&a, 0);
	if (busmsg_decode(slice_make(exact, size), &a, &m, &err) == 0 &&
		busmsg_encode(&m, &out, &err) == 0) {
		must(busmsg_decode(sbuf_slice(&out), &a, &again, &err) == 0);
		must(again.kind == m.kind && again.count == m.count && again.seq == m.seq);
		must(strcmp(again.subject, m.subject) == 0 && strcmp(again.who, m.who) == 0);
		for (size_t i = 0; m.kind == BUSMSG_HEALTH && i < m.count; i++) {
			must(strcmp(m.servers[i].name, again.servers[i].name) == 0);
			must(m.servers[i].state == again.servers[i].state);
			must(m.servers[i].since_ms == again.servers[i].since_ms);
			must(m.servers[i].is_probed == again.servers[i].is_probed);
		}
	}
	sbuf_fini(&out);
	arena_fini(&a);
	free(exact);
	return 0;
}
