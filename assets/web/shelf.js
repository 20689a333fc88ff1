// What is being uploaded, kept in the browser with the file itself: so that it goes on after a reload.

const NAME = 'teahouse-uploads'
const BEAT = 4000 // ms between two signs of life of the tab that uploads
const DEAD = 15_000 // ms without one: the tab is gone
const OLD = 24 * 3600_000 // the server forgets an upload then

let opened

function database() {
  opened = opened || new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1) // throws where it is forbidden, and so rejects
    request.onupgradeneeded = () => request.result.createObjectStore('uploads', {keyPath: 'id'})
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  return opened
}

async function within(mode, work) {
  const db = await database()
  return new Promise((resolve, reject) => {
    const transaction = db.transaction('uploads', mode)
    const request = work(transaction.objectStore('uploads'))
    transaction.oncomplete = () => resolve(request && request.result)
    transaction.onerror = transaction.onabort = () => reject(transaction.error)
  })
}

// A reloaded tab is the same one; a second tab must not take what the first one is at.
const tab = (() => {
  try {
    const had = sessionStorage.getItem('teahouse.tab')
    if (had) return had
    const made = Math.random().toString(36).slice(2)
    sessionStorage.setItem('teahouse.tab', made)
    return made
  } catch (err) {
    return Math.random().toString(36).slice(2)
  }
})()

const mine = new Map() // id -> record, of this tab

/** Keeps a record {id, user, topic, blob, …}; false if the browser does not. */
export async function keep(record) {
  const kept = {...record, tab, made: record.made || Date.now(), beat: Date.now()}
  try {
    await within('readwrite', (store) => store.put(kept))
  } catch (err) {
    return false
  }
  mine.set(record.id, kept)
  beat()
  return true
}

/** Adds to a kept record. */
export function note(id, more) {
  const record = mine.get(id)
  if (!record) return
  Object.assign(record, more)
  within('readwrite', (store) => store.put(record)).catch(() => { /* then it begins anew after a reload */ })
}

export function forget(id) {
  mine.delete(id)
  return within('readwrite', (store) => store.delete(id)).catch(() => {})
}

/** What this user left unfinished and nobody is at. What is too old is thrown away. */
export async function unfinished(user) {
  let all
  try {
    all = await within('readonly', (store) => store.getAll())
  } catch (err) {
    return []
  }
  const now = Date.now()
  for (const r of all) if (now - r.made > OLD) forget(r.id)
  const left = all.filter((r) => now - r.made <= OLD && r.user === user && !mine.has(r.id) && (r.tab === tab || now - r.beat > DEAD))
  for (const r of left) {
    Object.assign(r, {tab, beat: now})
    mine.set(r.id, r)
    await within('readwrite', (store) => store.put(r)).catch(() => {})
  }
  if (left.length) beat()
  return left.sort((a, b) => a.made - b.made)
}

/** Others may take it: the person goes. */
export function release(id) {
  note(id, {beat: 0})
  mine.delete(id)
}

let timer = 0
function beat() {
  timer = timer || setInterval(() => {
    if (!mine.size) {
      clearInterval(timer)
      timer = 0
    }
    for (const id of mine.keys()) note(id, {beat: Date.now()})
  }, BEAT)
}
