// node_h2.js PORT [PEM]: an h2c server, or, with certificate and key, one of h2; paths choose what it does, and each
// request's fields are a line of JSON
const http2 = require('http2');
const fs = require('fs');
// It counts what waits for a slow client; at 10 MB it would refuse everybody else.
const opt = { maxSessionMemory: 1000 };
const pem = process.argv[3] && fs.readFileSync(process.argv[3]);
const srv = pem ? http2.createSecureServer({ ...opt, cert: pem, key: pem }) : http2.createServer(opt);
srv.on('sessionError', () => {});
srv.on('stream', (s, h) => {
  console.log(JSON.stringify(h));
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
