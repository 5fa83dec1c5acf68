#!/usr/bin/env node
// h2client.js: what Node's HTTP/2 client sees. usage: h2client.js URL WORD [ARGS..]; URL is http://.. or https://..
//
//   get PATH..        all at once: one line of JSON each: status, headers, body length, trailers, interims
//   post PATH BYTES   a body of that size, with the trailers x-sum and x-forwarded-for, no content-length
//   expect PATH       a body that waits for 100-continue
//   cancel PATH MS    reset after so long; then /bytes/3 must still work
//   early PATH        a large upload that is answered early: the status, and how the stream ended
//   ws PATH           a WebSocket by extended CONNECT: what came back for "hello", and the end
//   ws-refused PATH   the status instead
//   stay PATH MS      a request, then the session stays: tells goaways and its end
'use strict';
process.noDeprecation = true; // Node 18 warns of an IP address as a server's name; a line of that is no answer
const http2 = require('http2');
const [url, word, ...args] = process.argv.slice(2);
const say = (o) => console.log(JSON.stringify(o));
const session = http2.connect(url, { rejectUnauthorized: false });
session.on('error', (e) => say({ session_error: e.code || e.message }));
setTimeout(() => { say({ timeout: true }); process.exit(1); }, 100000).unref();

function collect(req) {
	return new Promise((resolve) => {
		const seen = { interims: [], trailers: {}, length: 0 };
		const parts = [];
		req.on('headers', (h) => { if (h[':status'] !== 100) seen.interims.push(h[':status']); });
		req.on('continue', () => seen.interims.push(100));
		req.on('response', (h) => { seen.status = h[':status']; seen.headers = { ...h }; });
		req.on('trailers', (h) => { seen.trailers = { ...h }; });
		req.on('data', (d) => { seen.length += d.length; parts.push(d); });
		req.on('error', (e) => { seen.error = e.code; });
		req.on('close', () => {
			seen.rst = req.rstCode;
			const body = Buffer.concat(parts);
			if (body.length < 20000) seen.body = body.toString('latin1');
			resolve(seen);
		});
	});
}
const get = (path) => collect(session.request({ ':path': path }));
const masked = (text) => Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);

async function ws(path, refused) {
	await new Promise((resolve) => session.once('remoteSettings', resolve));
	const req = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': path, 'sec-websocket-version': '13' });
	const done = collect(req);
	req.once('response', (h) => { if (h[':status'] === 200 && !refused) req.write(masked('hello')); });
	req.once('data', () => { req.end(Buffer.from([0x88, 0x80, 0, 0, 0, 0])); });
	const seen = await done;
	say({ status: seen.status, text: (seen.body || '').slice(2, 7), rst: seen.rst });
}

const words = {
	get: async (...paths) => { for (const seen of await Promise.all(paths.map(get))) say(seen); },
	post: async (path, bytes) => {
		const req = session.request({ ':path': path, ':method': 'POST' }, { waitForTrailers: true });
		req.on('wantTrailers', () => req.sendTrailers({ 'x-sum': '42', 'x-forwarded-for': '6.6.6.6' }));
		req.end(Buffer.alloc(Number(bytes), 'x'));
		say(await collect(req));
	},
	expect: async (path) => {
		const req = session.request({ ':path': path, ':method': 'POST', expect: '100-continue', 'content-length': 5 });
		req.on('continue', () => req.end('hello'));
		say(await collect(req));
	},
	cancel: async (path, ms) => {
		const req = session.request({ ':path': path });
		setTimeout(() => req.close(http2.constants.NGHTTP2_CANCEL), Number(ms));
		await collect(req);
		say({ then: (await get('/bytes/3')).status });
	},
	early: async (path) => {
		const req = session.request({ ':path': path, ':method': 'POST' });
		const seen = collect(req);
		req.write(Buffer.alloc(1 << 20, 'x'));
		const s = await seen;
		say({ status: s.status, rst: s.rst, then: (await get('/bytes/3')).status });
	},
	ws: (path) => ws(path, false),
	'ws-refused': (path) => ws(path, true),
	stay: async (path, ms) => {
		session.on('goaway', (code, last) => say({ goaway: code, last }));
		session.on('close', () => { say({ closed: true }); process.exit(0); });
		say({ status: (await get(path)).status });
		setTimeout(() => { say({ still: true }); process.exit(0); }, Number(ms));
		await new Promise(() => {});
	},
};
words[word](...args).then(() => session.close());
