/*
 * wskey: base64 and SHA-1 by libcrypto.
 */
#include "routerd/wskey.h"

#include <sys/random.h>

#include <openssl/evp.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

bool
wskey_make(char key[WSKEY_TEXT])
{
	unsigned char raw[16];

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return false;
	EVP_EncodeBlock((unsigned char *)key, raw, sizeof(raw));
	return true;
}

bool
wskey_accepts(const char key[WSKEY_TEXT], struct slice accept)
{
	char text[WSKEY_TEXT - 1 + sizeof(GUID) - 1];
	unsigned char hash[EVP_MAX_MD_SIZE];
	char want[4 * EVP_MAX_MD_SIZE / 3 + 4];
	unsigned n = 0;

	memcpy(text, key, WSKEY_TEXT - 1);
	memcpy(text + WSKEY_TEXT - 1, GUID, sizeof(GUID) - 1);
	if (EVP_Digest(text, sizeof(text), hash, &n, EVP_sha1(), NULL) != 1)
		return false;

	int len = EVP_EncodeBlock((unsigned char *)want, hash, (int)n);

	return slice_eq(accept, slice_make(want, (size_t)len));
}
