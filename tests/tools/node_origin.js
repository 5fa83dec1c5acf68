#!/usr/bin/env node
// node_origin.js [NAME] [PORT]: Node's own HTTP server as an origin, so that not only ours answers.
// Prints "port N" and "ready".
//   /echo      the request as JSON (headers as Node parsed them; the body's length and digest)
//   /stream/N  N chunks, ten milliseconds apart      /events/N   N server-sent events, the same
//   /ws        WebSocket echo, by hand               /trailers   an answer with trailers
//   others     "hello from NAME"
'use strict';
const http = require('http');
const crypto = require('crypto');
const name = process.argv[2] || 'node';

function echo(req, res) {
	const hash = crypto.createHash('sha256');
	let length = 0;
	req.on('data', (d) => {
		hash.update(d);
		length += d.length;
	});
	req.on('end', () => {
		const facts = {
			name, method: req.method, target: req.url, version: req.httpVersion, headers: req.headers,
			body_len: length, body_sha256: hash.digest('hex'), trailers: req.trailers,
		};
		res.setHeader('Content-Type', 'application/json');
		res.end(JSON.stringify(facts) + '\n');
	});
}

function stream(res, n, piece) {
	let i = 0;
	const timer = setInterval(() => {
		if (i === n) {
			clearInterval(timer);
			res.end();
		} else {
			res.write(piece(i++));
		}
	}, 10);
	res.on('close', () => clearInterval(timer));
}

const server = http.createServer((req, res) => {
	const [mode, arg] = req.url.split('?')[0].split('/').slice(1);
	if (mode === 'echo') {
		echo(req, res);
	} else if (mode === 'stream') {
		stream(res, Number(arg), (i) => `chunk ${i}\n`);
	} else if (mode === 'events') {
		res.setHeader('Content-Type', 'text/event-stream');
		stream(res, Number(arg), (i) => `id: ${i}\ndata: event ${i}\n\n`);
	} else if (mode === 'trailers') {
		res.setHeader('Trailer', 'X-Sum');
		res.write('hello');
		res.addTrailers({ 'X-Sum': '5' });
		res.end();
	} else {
		req.resume();
		res.end(`hello from ${name}\n`);
	}
});

function frame(op, data) {
	const n = data.length;
	let head;
	if (n < 126) {
		head = Buffer.from([0x80 | op, n]);
	} else if (n < 65536) {
		head = Buffer.from([0x80 | op, 126, n >> 8, n & 255]);
	} else {
		head = Buffer.alloc(10);
		head[0] = 0x80 | op;
		head[1] = 127;
		head.writeBigUInt64BE(BigInt(n), 2);
	}
	return Buffer.concat([head, data]);
}

// Takes whole frames off the front of buf; returns what is left.
function eat(buf, on) {
	for (;;) {
		if (buf.length < 6) return buf;
		let n = buf[1] & 127, at = 2;
		if (n === 126) {
			n = buf.readUInt16BE(2);
			at = 4;
		} else if (n === 127) {
			if (buf.length < 14) return buf;
			n = Number(buf.readBigUInt64BE(2));
			at = 10;
		}
		if (buf.length < at + 4 + n) return buf;
		const mask = buf.subarray(at, at + 4);
		const data = Buffer.from(buf.subarray(at + 4, at + 4 + n)).map((b, i) => b ^ mask[i & 3]);
		on(buf[0] & 15, data);
		buf = buf.subarray(at + 4 + n);
	}
}

server.on('upgrade', (req, socket, head) => {
	const accept = crypto.createHash('sha1')
		.update(req.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
	socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
		`Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
	let buf = Buffer.from(head);
	const on = (op, data) => {
		if (op === 8) socket.end(frame(8, data));
		else socket.write(frame(op === 9 ? 10 : op, data));
	};
	buf = eat(buf, on);
	socket.on('data', (d) => { buf = eat(Buffer.concat([buf, d]), on); });
	socket.on('error', () => socket.destroy());
});

process.on('SIGTERM', () => process.exit(0));
server.listen(Number(process.argv[3] || 0), '127.0.0.1', () => {
	console.log('port ' + server.address().port);
	console.log('ready');
});
