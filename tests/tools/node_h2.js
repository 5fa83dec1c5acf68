// node_h2.js PORT: an h2c server; paths choose what it does
const http2 = require('http2');
// It counts what waits for a slow client; at 10 MB it would refuse everybody else.
const srv = http2.createServer({ maxSessionMemory: 1000 });
srv.on('stream', (s, h) => {
  const p = h[':path'];
  s.on('error', () => {});
  if (p === '/hello') { s.respond({':status': 200, 'content-type':'text/plain'}); s.end('hello\n'); }
  else if (p.startsWith('/size/')) { const n=+p.slice(6); s.respond({':status':200,'content-length':n}); s.end(Buffer.alloc(n,'x')); }
  else if (p === '/echo') { let b=[]; s.on('data',d=>b.push(d)); s.on('end',()=>{ s.respond({':status':200}, {waitForTrailers:true}); s.on('wantTrailers',()=>s.sendTrailers({'x-sum':String(Buffer.concat(b).length)})); s.end(Buffer.concat(b)); }); }
  else if (p === '/head') { s.respond({':status':200,'x-h':JSON.stringify(h)}); s.end(); }
  else if (p === '/early') { s.additionalHeaders({':status':103, link:'</a.css>; rel=preload'}); s.respond({':status':200}); s.end('ok\n'); }
  else if (p === '/204') { s.respond({':status':204}, {endStream:true}); }
  else if (p === '/reset') { s.close(2); }
  else if (p === '/refuse') { s.close(7); }
  else { s.respond({':status':404}); s.end('no\n'); }
});
srv.listen(+process.argv[2], '127.0.0.1', ()=>console.log('ready'));
