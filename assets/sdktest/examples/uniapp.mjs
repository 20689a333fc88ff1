// Runs a uni-app project (Vue 3) from its folder: main.js, App.vue, pages. Templates are compiled by Vue's own
// compiler and drawn by Vue's own renderer, into nodes instead of a platform's views.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import vm from 'node:vm'

import {baseCompile} from '@vue/compiler-core'
import * as Vue from 'vue'

import {Screen} from './screen.mjs'

export const folder = path.resolve(path.dirname(new URL(import.meta.url).pathname), '../../../examples/uniapp')

/** One part of a .vue file. */
export function part(source, tag) {
  return new RegExp(`^<${tag}>\\n([^]*?)^</${tag}>`, 'm').exec(source)?.[1]
}

const EVENTS = {onClick: 'tap', onLongpress: 'longpress', onInput: 'input', onConfirm: 'confirm'}
const {createApp: mountable} = Vue.createRenderer({
  createElement: (tag) => ({tag, attrs: {}, on: {}, children: []}),
  createText: (text) => ({text}),
  createComment: () => ({text: ''}),
  setText: (node, text) => (node.text = text),
  setElementText: (node, text) => (node.children = [{text, parent: node}]),
  parentNode: (node) => node.parent ?? null,
  nextSibling: (node) => node.parent?.children[node.parent.children.indexOf(node) + 1] ?? null,
  remove(node) {
    const list = node.parent?.children
    if (list) list.splice(list.indexOf(node), 1)
    node.parent = undefined
  },
  insert(node, parent, anchor) {
    if (node.parent) node.parent.children.splice(node.parent.children.indexOf(node), 1)
    node.parent = parent
    if (anchor) parent.children.splice(parent.children.indexOf(anchor), 0, node)
    else parent.children.push(node)
  },
  patchProp(node, name, before, value) {
    if (!/^on[A-Z]/.test(name)) return void (value == null ? delete node.attrs[name] : (node.attrs[name] = value))
    assert.ok(EVENTS[name], `the tests do not know @${name.slice(2).toLowerCase()}`)
    if (!value) delete node.on[EVENTS[name]]
    else node.on[EVENTS[name]] = (detail) => value({type: EVENTS[name], detail, currentTarget: {dataset: {}}, target: {dataset: {}}})
  },
})

export async function startUni(mini) {
  const config = JSON.parse(fs.readFileSync(path.join(folder, 'pages.json')))
  const routes = config.pages.map((p) => p.path)
  const tabs = config.tabBar.list.map((t) => t.pagePath)
  const {uni} = mini
  const context = mini.context()
  const complaints = []

  // Modules, as Vite resolves them; a .vue is its script with the compiled template as render.
  const modules = new Map()
  const link = (to, from) => {
    if (to === 'vue') return synthetic('vue', {createSSRApp: (component) => component})
    assert.match(to, /^\.\.?\//, `${from.identifier} imports ${to}: the examples use the SDK's file only`)
    return module(path.join(path.dirname(from.identifier), to))
  }
  const synthetic = (name, values) => {
    const m = new vm.SyntheticModule(Object.keys(values), () => Object.entries(values).forEach(([k, v]) => m.setExport(k, v)), {context, identifier: name})
    return m
  }
  const module = (file) => {
    if (modules.has(file)) return modules.get(file)
    let code = fs.readFileSync(path.join(folder, file), 'utf8')
    if (file.endsWith('.vue')) code = part(code, 'script')
    const m = new vm.SourceTextModule(code, {context, identifier: file})
    modules.set(file, m)
    return m
  }
  const load = async (file) => {
    const m = module(file)
    if (m.status === 'unlinked') await m.link(link)
    if (m.status !== 'evaluated') await m.evaluate()
    return m.namespace
  }
  const pages = {}
  for (const route of routes) {
    const file = route + '.vue'
    const {code} = baseCompile(part(fs.readFileSync(path.join(folder, file), 'utf8'), 'template'), {
      mode: 'function', prefixIdentifiers: true, isNativeTag: () => true, onError: (e) => assert.fail(`${file}: ${e.message}`),
    })
    pages[route] = {...(await load(file)).default, render: new Function('Vue', code)(Vue)}
  }
  const App = (await load('main.js')).createApp().app

  const stack = []
  const kept = {}
  const open = (route) => {
    assert.ok(pages[route], `pages.json has no page ${route}`)
    const root = {children: []}
    const own = mountable(pages[route])
    own.config.warnHandler = (m) => complaints.push(`${route}: ${m}`)
    own.config.errorHandler = (e) => complaints.push(`${route}: ${e.stack}`)
    return {route, root, app: own, vm: own.mount(root), options: pages[route]}
  }
  const top = () => stack.at(-1)
  const call = (page, name, ...args) => page?.options[name]?.call(page.vm, ...args)
  const close = (page) => {
    call(page, 'onUnload')
    page.app.unmount()
  }
  const enter = (page, fresh) => {
    stack.push(page)
    if (fresh) call(page, 'onLoad', {})
    if (top() !== page) return
    call(page, 'onShow')
    if (fresh) call(page, 'onReady')
  }
  const at = (o) => o.url.replace(/^\//, '').split('?')[0]
  uni.switchTab = (o) => {
    const route = at(o)
    assert.ok(tabs.includes(route), `${route} is no tab`)
    while (stack.length) {
      const page = stack.pop()
      if (tabs.includes(page.route)) call(page, 'onHide')
      else close(page)
    }
    const fresh = !kept[route]
    enter((kept[route] ??= open(route)), fresh)
  }
  uni.reLaunch = (o) => {
    for (const page of new Set([...stack.splice(0), ...Object.values(kept)])) close(page)
    for (const route in kept) delete kept[route]
    enter(open(at(o)), true)
  }
  mini.hooks = {
    show() {
      App.onShow?.({})
      call(top(), 'onShow')
    },
    hide() {
      call(top(), 'onHide')
      App.onHide?.({})
    },
  }
  App.onLaunch?.({})
  App.onShow?.({})
  enter(open(routes[0]), true)
  const {session} = await load('lib/session.js')
  return {
    kind: 'uni', mini, context, complaints,
    screen: new Screen(() => (assert.deepEqual(complaints, []), top().root.children)),
    client: () => session.client,
    page: () => top(),
    tab: (name) => uni.switchTab({url: `/pages/${name}`}),
    pull: () => call(top(), 'onPullDownRefresh'),
  }
}
