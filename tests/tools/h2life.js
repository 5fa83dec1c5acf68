#!/usr/bin/env node
// h2life.js [pem=FILE] [ws] [streams=N] [hold]: a server of HTTP/2 whose paths say what becomes of its connections.
// Clear text, or TLS with a certificate and key. Prints "port N" and "ready", and lines of JSON: "session" and its
// number, "closed" with it and the error code of the client's GOAWAY (null: there was none), "stream", "end" with
// what a stream ended with, and "most": the most streams that a session had at a time.
//
//   ws           extended CONNECTs are taken: what comes goes back, "bye" ends it, "die" everything
//   hold         nothing is answered
//
//   /who             {session, stream}              /size/N      N bytes
//   /wait/MS         the same, later                /drip/N/MS   N times 1000 bytes
//   /endless         for ever; "sent" tells how much, from time to time
//   /goaway          GOAWAY with this stream as the last, then as /who
//   /streams/N       SETTINGS_MAX_CONCURRENT_STREAMS from now on, then as /who
//   /windows         a body comes back while SETTINGS_INITIAL_WINDOW_SIZE changes with each 16 kB of it
//   /trailers        a body, and x-sum behind it
'use strict';
const http2 = require('http2');
const fs = require('fs');
const args = process.argv.slice(2);
const option = (name) => { const a = args.find((x) => x === name || x.startsWith(name + '=')); return a && (a.slice(name.length + 1) || true); };
const say = (o) => console.log(JSON.stringify(o));
const settings = { enableConnectProtocol: !!option('ws') };
if (option('streams')) settings.maxConcurrentStreams = +option('streams');
const opt = { maxSessionMemory: 1000, settings };
const pem = option('pem') && fs.readFileSync(option('pem'));
const server = pem ? http2.createSecureServer({ ...opt, cert: pem, key: pem }) : http2.createServer(opt);
let sessions = 0;

server.on('session', (session) => {
	const life = session.life = { n: ++sessions, open: 0, most: 0, code: null };
	say({ event: 'session', n: life.n });
	session.on('goaway', (code) => { life.code = code; });
	session.on('error', () => {});
	session.on('close', () => say({ event: 'closed', n: life.n, code: life.code, most: life.most }));
});
server.on('sessionError', () => {});

const ok = { ':status': 200, 'content-type': 'text/plain' };
const who = (s) => { if (!s.destroyed) { s.respond(ok); s.end(JSON.stringify({ session: s.session.life.n, stream: s.id }) + '\n'); } };
const answers = {
	who,
	wait: (s, ms) => setTimeout(() => who(s), +ms),
	size: (s, n) => { s.respond({ ...ok, 'content-length': +n }); s.end(Buffer.alloc(+n, 'x')); },
	drip: (s, n, ms) => {
		s.respond(ok);
		const step = () => { if (s.destroyed) return; if (n-- > 0) { s.write(Buffer.alloc(1000, 'x')); setTimeout(step, +ms); } else s.end(); };
		step();
	},
	endless: (s) => {
		let sent = 0;
		s.respond(ok);
		const more = () => { while (!s.destroyed) { sent += 16384; if (!s.write(Buffer.alloc(16384, 'x'))) break; } };
		s.on('drain', more);
		more();
		const timer = setInterval(() => { if (s.destroyed) clearInterval(timer); else say({ event: 'sent', bytes: sent - s.writableLength }); }, 100);
	},
	goaway: (s) => { s.session.goaway(0, s.id); who(s); },
	streams: (s, n) => { s.session.settings({ maxConcurrentStreams: +n }, () => who(s)); },
	windows: (s) => {
		const parts = [];
		let at = 0, n = 0;
		s.on('data', (d) => {
			parts.push(d);
			n += d.length;
			while (n >= at) { at += 16384; s.session.settings({ initialWindowSize: [65535, 1000, 200000, 20000][(at / 16384) % 4] }); }
		});
		s.on('end', () => { s.respond(ok); s.end(Buffer.concat(parts)); });
	},
	trailers: (s) => {
		const parts = [];
		s.on('data', (d) => parts.push(d));
		s.on('end', () => {
			const all = Buffer.concat(parts);
			s.respond(ok, { waitForTrailers: true });
			s.on('wantTrailers', () => s.sendTrailers({ 'x-sum': String(all.length) }));
			s.end(all);
		});
	},
};

function websocket(s, h) {
	if (h[':path'] === '/no') { s.respond({ ':status': 403 }); s.end('no\n'); return; }
	s.respond({ ':status': 200, 'sec-websocket-protocol': h['sec-websocket-protocol'] || 'none' });
	s.on('data', (d) => {
		if (d.includes('die')) process.exit(0);
		else if (d.includes('bye')) s.end(d);
		else s.write(d);
	});
	s.on('end', () => s.end());
}

server.on('stream', (s, h) => {
	const life = s.session.life;
	const [, word, ...rest] = h[':path'].split('/');
	life.most = Math.max(life.most, ++life.open);
	say({ event: 'stream', n: life.n, id: s.id, path: h[':path'], method: h[':method'], scheme: h[':scheme'], protocol: h[':protocol'],
		key: h['sec-websocket-key'], version: h['sec-websocket-version'], timeout: h['grpc-timeout'], te: h.te });
	s.on('error', () => {});
	s.on('close', () => { life.open--; say({ event: 'end', n: life.n, id: s.id, path: h[':path'], code: s.rstCode }); });
	if (option('hold')) return;
	if (h[':method'] === 'CONNECT') websocket(s, h);
	else (answers[word] || who)(s, ...rest);
});
server.listen(0, '127.0.0.1', () => { console.log('port ' + server.address().port); console.log('ready'); });
