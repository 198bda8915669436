// The page of one session: its film and its directions.

import { ask, Live } from '/client.js';
import { Cast } from '/cast.js';
import { Composer } from '/compose.js';
import { Controls } from '/controls.js';
import { Demo } from '/demo.js';
import { Exports } from '/exports.js';
import { acceptFiles } from '/files.js';
import { Film } from '/film.js';
import { fit } from '/fit.js';
import { listenForKeys } from '/keyboard.js';
import { Lane } from '/lane.js';
import { PlanList } from '/plan.js';
import { Player } from '/player.js';
import { acceptPrompts } from '/prompt_form.js';
import { Shelf } from '/shelf.js';
import { Takes } from '/takes.js';
import '/theme.js';
import { clock, drawStrip } from '/view.js';

const at = (id) => document.getElementById(id);
const model = await ask('GET', '/model');
const film = new Film(at('film'), model);
fit(at('film'), at('screen'), model);
const demo = new Demo(at('demo'));
const nodes = (...ids) => Object.fromEntries(ids.map((id) => [id, at(id)]));
const composer = new Composer(
  nodes('prompt', 'marks', 'choices', 'tokens', 'notes'), model);
const controls = new Controls({
  ...nodes('policy', 'steps', 'guidance', 'lora', 'seed', 'blend', 'limits',
    'compiling'),
  routed: at('routed-frames'),
}, model, (direction) => say(direction));
const cast = new Cast(nodes('faces', 'add', 'picture'), model, {
  changed: (state) => receive(state), // before a later drawing shows the old one
  fail: (error) => fail(error),
});
const lane = new Lane(nodes('track', 'routed', 'reading', 'words'), model);
const player = new Player({
  ...nodes('line', 'pictures', 'head', 'peek', 'back', 'step', 'loop', 'speed',
    'live', 'time'),
  marks: at('marks-of-shots'),
  play: at('watch'),
}, model, film);
const plan = new PlanList(
  { box: at('plan'), list: at('planned'), note: at('unplanned') }, model,
  (direction) => say(direction));
const takes = new Takes(at('takes'), model, {
  choose: (take) => say({ do: 'choose_take', take }),
  remove: (take) => say({ do: 'delete_take', take }),
});
const exports = new Exports(
  { list: at('exports'), ...nodes('screenplay', 'mp4', 'png') },
  (error) => fail(error));
const shelf = new Shelf({
  dialog: at('shelf'),
  title: at('shelf-title'),
  list: at('shelved'),
  close: at('close'),
}, { enter, current: () => session.id, fail });
let session = null; // its last state from the server
let live = null;
let chunk = null; // the event of the chunk on screen
let asleep = false; // the server has saved the session and freed it
let closing = false; // the server has said so
let interrupted = false; // the connection was lost while the film rolled
const UNWATCHED = 'nobody is watching';
const BEGIN = 'This model made this film. For yours, write what is seen first, '
  + 'or press Enter to begin with the example.';

// --- the session -----------------------------------------------------------

function enter(state) {
  live?.close();
  if (session && session.id !== state.id && !session.segments.length) {
    leave(session.id); // it has not begun
  }
  film.clear(state.revision);
  chunk = null;
  asleep = false;
  session = state;
  history.replaceState(null, '', `#${state.id}`);
  interrupted = false;
  lane.clear();
  lane.recallLast(state);
  player.enter(state);
  live = new Live(state.id, {
    event: receive,
    frame: (revision, frame, blob) => film.add(revision, frame, blob),
    lost: () => {
      interrupted ||= session.status === 'rolling';
      slate(closing
        ? 'The server has saved the film and closed. The film is here again '
          + 'when the server is.'
        : 'The connection is lost; trying again…');
    },
    gone: () => restore(state.id),
  });
  show();
  at('prompt').focus({ preventScroll: true }); // a phone opens on the film
}

async function restore(id) {
  try {
    enter(await ask('POST', '/sessions', { restore: id }));
  } catch {
    fail(new Error('that film no longer exists; this is a new one'));
    await begin({});
  }
}

async function begin(body) {
  try {
    enter(await ask('POST', '/sessions', body));
  } catch (error) {
    fail(error);
  }
}

const leave = (id) => ask('DELETE', `/sessions/${id}`).catch(() => {});

function receive(message) {
  if (message.type === 'session') {
    if (message.revision !== session.revision) {
      forget();
      lane.recallLast(message);
    }
    session = message;
    player.update(session);
    // A film pauses while nobody watches. It goes on if that was no wish of
    // anybody, and else waits for the button.
    if (interrupted && message.reason === UNWATCHED) say({ do: 'resume' });
    interrupted = false;
    closing = false;
    show();
  } else if (message.type === 'chunk') {
    film.expect(message);
    session.chunks = message.chunk + 1;
    player.grow(message);
    setTimeout(() => onScreen(message), message.starts_in_ms);
  } else if (message.type === 'error') {
    fail(new Error(message.error));
    if (message.do === 'set') controls.show(session, true);
  } else if (message.type === 'saved') {
    asleep = true;
    live.close();
    slate('The film was idle and has been saved. Roll to go on with it.');
  } else if (message.type === 'closing') {
    closing = true;
    slate('The server is closing and has saved the film.');
  } else if (message.type === 'closed') {
    live.close();
    fail(new Error('This film was deleted, which Films… can undo.'));
    begin({});
  }
}

// The film goes on from another place: what the page says about its last chunk
// no longer holds.
function forget() {
  chunk = null;
  lane.clear();
  for (const id of ['latency', 'generated']) at(id).textContent = '–';
}

function onScreen(event) {
  if (event.revision !== session.revision) return;
  const isNew = !chunk || event.segment !== chunk.segment;
  chunk = event;
  lane.draw(event, session);
  cast.read(event);
  at('latency').textContent =
    event.latency_ms === null ? '–' : `${event.latency_ms} ms`;
  at('generated').textContent =
    `${((1000 * event.frames) / Math.max(1, event.generation_ms)).toFixed(0)} fps`;
  at('film').setAttribute('aria-label', `The film: ${event.prompt}`);
  showLength(event.shot, (event.frame + event.frames) / model.fps);
  if (isNew) {
    const opens = event.cut || event.chunk === 0;
    const what = opens ? `Shot ${event.shot + 1}` : 'Continued';
    at('announcer').textContent = `${what}: ${event.prompt}`;
    show();
  }
  const last = session.segments.at(-1);
  if (last) last.chunks = Math.max(last.chunks, event.chunk + 1 - last.chunk);
}

// --- the state of the session ----------------------------------------------

function show() {
  const rolls = session.status === 'rolling';
  at('play').textContent = rolls ? '❚❚ Pause' : '▶ Roll';
  at('play').setAttribute('aria-label', rolls ? 'Pause' : 'Roll');
  at('play').disabled = !session.segments.length;
  const empty = !session.chunks && !session.segments.length && !rolls;
  demo.show(empty);
  slate(rolls ? '' : empty && demo.plays ? BEGIN : session.reason);
  at('again').hidden = rolls || empty || session.status !== 'paused';
  const title = `${session.title || 'Untitled'} · seed ${session.seed}`;
  at('about').textContent = `${model.name} · ${title}`;
  document.title = `${session.title || 'Untitled'} · cinejax`;
  exports.show(session);
  drawStrip(at('strip'), session, model, {
    retake, fork, reuse, takes: (chunk) => takes.open(session, chunk),
    picture: (take) => takes.picture(session, take) });
  showLength(session.segments.at(-1)?.shot, session.secs);
  plan.update(session);
  takes.update(session);
  for (const id of ['undo', 'redo']) {
    at(id).disabled = !session[id];
    at(id).title = session[id] ? `${id === 'undo' ? 'Undo' : 'Redo'}: ${session[id]}` : '';
  }
  controls.show(session);
  at('compare').href = session.segments.length
    ? `/compare.html#from=${session.id}` : '/compare.html';
  cast.show(session).catch(fail);
}

function showLength(shot, secs) {
  at('length').textContent =
    shot === undefined ? '' : `${shot + 1} · ${clock(secs)}`;
}

function slate(text) {
  at('slate').textContent = text ?? '';
}

let failing;
function fail(error) {
  at('error').textContent = error.message;
  clearTimeout(failing);
  failing = setTimeout(() => { at('error').textContent = ''; }, 6000);
}

setInterval(() => {
  const rate = film.rate();
  at('fps').textContent = rate === null ? '–' : `${rate.toFixed(1)} fps`;
}, 250);

// --- directions ------------------------------------------------------------

async function say(direction) {
  if (asleep) {
    await restore(session.id);
    await live.open;
  }
  if (!live.send(direction)) fail(new Error('there is no connection to the server yet'));
}

function retake(one) {
  say({ do: 'rewind', chunk: one.chunk });
  composer.write(one.prompt); // to be changed, or sent once more
}
async function fork(one) {
  try {
    enter(await ask('POST', `/sessions/${session.id}/fork`, { chunk: one.chunk }));
  } catch (error) {
    fail(error);
  }
}
const reuse = (text) => composer.write(text);

acceptPrompts({ form: at('say'), ...nodes('prompt', 'cut', 'at') }, composer,
  controls, { begun: () => session.segments.length > 0, say });
at('play').onclick = () =>
  say({ do: session.status === 'rolling' ? 'pause' : 'resume' });
at('again').onclick = () => say({ do: 'resume' });
at('demo').onplaying = () => show();
at('undo').onclick = () => say({ do: 'undo' });
at('redo').onclick = () => say({ do: 'redo' });
at('take-back').onclick = () => {
  takes.removed = false;
  say({ do: 'undo' });
};
at('hold').onclick = () => say({ do: 'hold' });
at('new').onclick = () => begin({});
at('films').onclick = () => shelf.open();
acceptFiles(nodes('open', 'file'), {
  run: (film) => begin({ film }),
  picture: (file) => cast.add(file),
  fail,
});
listenForKeys({ ...nodes('prompt', 'line', 'play'), watch: at('watch') },
  [at('takes'), at('shelf')], player, say);

// --- what the model can do -------------------------------------------------

document.documentElement.style.setProperty(
  '--aspect', model.width / model.height);
document.documentElement.classList.toggle('small', model.height < 256);

const known = location.hash.slice(1);
if (known) {
  await ask('GET', `/sessions/${encodeURIComponent(known)}`)
    .then(enter, () => restore(known));
} else {
  await begin({});
}
