/*
 * wskey: base64 and SHA-1 by libcrypto.
 */
#include "routerd/wskey.h"

#include <sys/random.h>

#include <openssl/evp.h>

/* Longer than 16 bytes in base64: no key. */
#define KEY_MAX 64
#define GUID    "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

bool
wskey_make(char key[WSKEY_TEXT])
{
	unsigned char raw[16];

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return false;
	EVP_EncodeBlock((unsigned char *)key, raw, sizeof(raw));
	return true;
}

struct slice
wskey_accept(struct slice key, char text[WSKEY_ACCEPT])
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	char both[KEY_MAX + sizeof(GUID)];
	unsigned n = 0;

	if (key.n == 0 || key.n > KEY_MAX)
		return slice_make(NULL, 0);
	memcpy(both, key.p, key.n);
	memcpy(both + key.n, GUID, sizeof(GUID) - 1);
	if (EVP_Digest(both, key.n + sizeof(GUID) - 1, hash, &n, EVP_sha1(), NULL) != 1)
		return slice_make(NULL, 0);
	return slice_make(text, (size_t)EVP_EncodeBlock((unsigned char *)text, hash, (int)n));
}

bool
wskey_accepts(const char key[WSKEY_TEXT], struct slice accept)
{
	char text[WSKEY_ACCEPT];
	struct slice want = wskey_accept(slice_make(key, WSKEY_TEXT - 1), text);

	return want.n > 0 && slice_eq(accept, want);
}
