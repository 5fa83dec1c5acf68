/* area: libcommon */
/*
 * fuzz_ctl: any bytes as a control line; what is accepted must survive being quoted and read again.
 */
#include <stdlib.h>

#include "libcommon/ctlproto.h"
#include "libcommon/sbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ctlproto_line l;
	struct ctlproto_line again;
	struct sbuf text = { 0 };

	if (ctlproto_parse(slice_make((const char *)data, size), &l) != NULL)
		return 0;
	for (size_t i = 0; i < l.n; i++)
		ctlproto_add_word(&text, l.words[i]);
	/* Quoting may make a long line too long, and a first word `json` means something else. */
	if (ctlproto_parse(sbuf_slice(&text), &again) == NULL && !again.is_json) {
		if (again.n != l.n)
			abort();
		for (size_t i = 0; i < l.n; i++)
			if (strcmp(l.words[i], again.words[i]) != 0)
				abort();
	}
	sbuf_fini(&text);
	return 0;
}
