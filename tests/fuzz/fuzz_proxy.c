/* area: libcommon */
/*
 * fuzz_proxy: PROXY headers. Slices lie inside the header, the verdict does not depend on how much
 * has come, and what was read can be written and reads back the same.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/proxyproto.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_inside(struct slice s, const char *p, size_t n)
{
	assert(s.n == 0 || (s.p >= p && s.n <= n && (size_t)(s.p - p) <= n - s.n));
}

static void
check_info(const struct proxy_info *info, const char *p, size_t used)
{
	const struct slice all[] = { info->alpn, info->authority, info->unique_id,
		info->tls_version, info->cipher, info->cert.cn, info->cert.der, info->cert.failure,
		info->cert.subject, info->cert.issuer, info->cert.serial, info->cert.fingerprint,
		info->cert.san, info->cert.not_before, info->cert.not_after };
	size_t sum = 0;

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		check_inside(all[i], p, used);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		sum += all[i].n;
	assert(proxy_text_len(info) == sum);
	for (size_t i = 7; i < sizeof(all) / sizeof(*all); i++)
		for (size_t j = 0; j < all[i].n; j++)
			assert(all[i].p[j] >= ' ' && all[i].p[j] <= '~');
	assert(info->has_client_cert || proxy_text_len(info) == 0 || info->cert.subject.p == NULL);
	assert(info->unique_id.n <= 128);
	assert(!info->has_addr || info->src.ss_family == info->dst.ss_family);
	assert(!info->has_addr || info->src.ss_family == AF_INET ||
		info->src.ss_family == AF_INET6);
	assert(!info->is_local || (!info->has_addr && !info->has_tls && info->alpn.n == 0));
	assert(!info->has_client_cert || info->has_tls);
	assert(!info->is_client_cert_verified || info->has_client_cert);
}

static void
check_same(const struct proxy_info *a, const struct proxy_info *b)
{
	assert(a->is_local == b->is_local && a->has_addr == b->has_addr);
	assert(memcmp(&a->src, &b->src, sizeof(a->src)) == 0);
	assert(memcmp(&a->dst, &b->dst, sizeof(a->dst)) == 0);
	assert(a->has_tls == b->has_tls && a->has_client_cert == b->has_client_cert);
	assert(a->is_client_cert_verified == b->is_client_cert_verified);
	assert(slice_eq(a->alpn, b->alpn) && slice_eq(a->authority, b->authority));
	assert(slice_eq(a->unique_id, b->unique_id) && slice_eq(a->cipher, b->cipher));
	assert(slice_eq(a->tls_version, b->tls_version) && slice_eq(a->cert.cn, b->cert.cn));
	assert(slice_eq(a->cert.der, b->cert.der) && slice_eq(a->cert.failure, b->cert.failure));
	assert(slice_eq(a->cert.subject, b->cert.subject) && slice_eq(a->cert.san, b->cert.san));
	assert(slice_eq(a->cert.issuer, b->cert.issuer) &&
		slice_eq(a->cert.serial, b->cert.serial));
	assert(slice_eq(a->cert.fingerprint, b->cert.fingerprint));
	assert(slice_eq(a->cert.not_before, b->cert.not_before));
	assert(slice_eq(a->cert.not_after, b->cert.not_after) && a->is_resumed == b->is_resumed);
}

static void
check_rewritten(const struct proxy_info *info)
{
	char *out = malloc(PROXY_MAX);
	struct proxy_info again;
	const char *reason;
	size_t used;

	assert(out != NULL);

	size_t n = proxy_write_v2(out, PROXY_MAX, info);

	assert(n >= 16 && n <= PROXY_MAX);
	assert(proxy_write_v2(out, n - 1, info) == 0);
	assert(proxy_write_v2(out, n, info) == n);
	assert(proxy_read(out, n, &again, &used, &reason) == PROXY_DONE && used == n);
	check_same(info, &again);

	char *text = malloc(proxy_text_len(&again) + 1);

	assert(text != NULL);
	proxy_text_move(&again, text);
	free(out);
	check_same(info, &again);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_info info;
	struct proxy_info early;
	const char *reason = "";
	const char *word;
	size_t used;
	size_t n;

	if (size > 14000)
		return 0;

	char *p = malloc(size + 1);

	assert(p != NULL);
	memcpy(p, data, size);

	enum proxy_result result = proxy_read(p, size, &info, &used, &reason);

	assert(result != PROXY_BAD || reason[0] != '\0');
	assert(result != PROXY_MORE || size < PROXY_MAX);
	if (result == PROXY_DONE) {
		assert(used <= size && used <= PROXY_MAX);
		check_info(&info, p, used);
		check_rewritten(&info);
	}
	for (size_t i = 0; i < size; i = i < 300 ? i + 1 : i * 2) {
		char *copy = malloc(i + 1);

		assert(copy != NULL);
		memcpy(copy, p, i);
		word = "";

		enum proxy_result r = proxy_read(copy, i, &early, &n, &word);

		assert(r == PROXY_MORE || (r == result && strcmp(word, reason) == 0));
		assert(r != PROXY_DONE || n == used);
		free(copy);
	}
	free(p);
	return 0;
}
