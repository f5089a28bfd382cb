"use strict";
// The stream of records over a WebSocket; comes back where it was cut off, for ever, with a pause that grows to five seconds.
// take(record, live): live is false for what had been told before the page was opened.
function follow(take, state) {
  let after = null, epoch = null, pause = 250, opened = 0;
  function open() {
    const address = new URL("/ws", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    if (after !== null) { address.searchParams.set("after", after); address.searchParams.set("epoch", epoch); }
    address.searchParams.set("last", "500");
    const socket = new WebSocket(address);
    socket.onopen = () => { pause = 250; state("listening"); };
    socket.onmessage = (message) => {
      const record = JSON.parse(message.data);
      if (record.type === "snapshot") {
        if (!record.resumed) { opened = record.seq; after = record.seq; }
        epoch = record.epoch;
      } else if (record.type === "lag") {
        socket.close();  // too slow: taken up anew where it was left, with a snapshot of what sounds now where that is too long ago
        return;
      } else {
        after = Math.max(after, record.seq);
      }
      take(record, !(record.seq <= opened));
    };
    socket.onclose = () => { state("not connected, trying again"); setTimeout(open, pause); pause = Math.min(5000, pause * 2); };
  }
  open();
}
function clock(seconds) {
  const whole = Math.floor(seconds), pad = (n) => String(n).padStart(2, "0");
  return `${pad(Math.floor(whole / 3600))}:${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}`;
}
function made(tag, text, kind) {
  const element = document.createElement(tag);
  if (text !== undefined) { element.textContent = text; }
  if (kind) { element.className = kind; }
  return element;
}
