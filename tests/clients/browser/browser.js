// Looks at a page with Chromium. Takes lines of JSON, says one for each; the first says that it is there.
// It waits for states, never for time, and knows the page by what a person or a screen reader finds in it.
const readline = require('readline');
const { chromium } = require('playwright-core');

// Short of the patience of who asks.
const PATIENCE_MS = 9000;

let browser;
let page;
let faults;

const deeds = {
  /** A new window at `url`. */
  async open({ url, scheme = 'light', width = 1440, height = 1000, token }) {
    await page?.context().close();
    const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height }, reducedMotion: 'reduce' });
    context.setDefaultTimeout(PATIENCE_MS);
    page = await context.newPage();
    faults = { said: [], foreign: [], asked: [] };
    const own = new URL(url).origin;
    page.on('console', (line) => faults.said.push(`${line.type()}: ${line.text()}`));
    page.on('pageerror', (error) => faults.said.push(`uncaught: ${error.message}`));
    page.on('dialog', (dialog) => { faults.said.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    page.on('request', (request) => {
      const asked = new URL(request.url());
      faults.asked.push(asked.pathname);
      if (asked.origin !== own && asked.protocol !== 'data:') faults.foreign.push(request.url());
    });
    if (token) {
      // As the admin answers who comes from elsewhere.
      await page.route('**/events', (route) => {
        const isKnown = route.request().headers().authorization === `Bearer ${token}`;
        return isKnown ? route.continue() : route.fulfill({ status: 401, json: { version: 1, error: 'token' } });
      });
    }
    const answer = await page.goto(url);
    return { status: answer.status(), headers: answer.headers(), title: await page.title() };
  },

  /** Waits until something at `at` has this text. */
  async see({ at, text }) {
    const found = page.locator(at).filter({ hasText: text }).first();
    await found.waitFor({ state: 'visible' });
    return { text: await found.innerText() };
  },

  /** Waits until nothing at `at` has this text. */
  async miss({ at, text }) {
    await page.locator(at).filter({ hasText: text }).first().waitFor({ state: 'hidden' });
    return {};
  },

  /** Waits until at least `count` of these are there. */
  async many({ at, count }) {
    await page.locator(at).nth(count - 1).waitFor({ state: 'attached' });
    return {};
  },

  async press({ key }) {
    await page.keyboard.press(key);
    return focused();
  },

  async type({ text }) {
    await page.keyboard.type(text);
    return {};
  },

  /** Where Tab leads, from the top of the page until it leaves it. */
  async walk() {
    await page.evaluate(() => { document.activeElement?.blur(); scrollTo(0, 0); });
    const stops = [];
    for (let steps = 0; steps < 100; steps++) {
      await page.keyboard.press('Tab');
      const stop = await focused();
      if (!stop.name && stop.role === 'body') break;
      stops.push(stop);
    }
    return { stops };
  },

  async shot({ path }) {
    await page.screenshot({ path, fullPage: true });
    return {};
  },

  /** What the page looks like in one regard. */
  async style({ of, property }) {
    return { value: await page.locator(of).first().evaluate((node, name) => getComputedStyle(node)[name], property) };
  },

  /** What the console said, and who was asked. */
  async faults() {
    return faults;
  },

  /** What would keep somebody from using the page, which must have something of each of these roles. */
  async audit({ roles = ['table', 'image', 'log', 'region'] }) {
    return { complaints: [...await audited(roles), ...await page.evaluate(look)] };
  },

  /** How many drawings are seen, and what would keep somebody from reading them. */
  async drawings() {
    return page.evaluate(drawn);
  },
};

/** What has the focus, and whether that can be seen. */
function focused() {
  return page.evaluate(() => {
    const node = document.activeElement;
    const isOutlined = (one) => one && getComputedStyle(one).outlineStyle !== 'none' && parseFloat(getComputedStyle(one).outlineWidth) > 0;
    const name = node.getAttribute('aria-label')
      ?? (node.getAttribute('aria-labelledby') ? document.getElementById(node.getAttribute('aria-labelledby')).textContent : '')
      ?? '';
    return {
      role: node.getAttribute('role') ?? node.localName,
      name: name || (node === document.body ? '' : node.labels?.[0]?.textContent.trim() || node.textContent.trim()),
      isShown: Boolean(isOutlined(node) || isOutlined(node.nextElementSibling)),
    };
  });
}

/** What Chromium tells screen readers, held against what they need. */
async function audited(roles) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send('Accessibility.getFullAXTree');
  const seen = nodes.filter((node) => !node.ignored)
    .map((node) => ({ role: node.role?.value, name: node.name?.value ?? '', node }));
  const complaints = [];
  const named = ['button', 'link', 'textbox', 'radio', 'dialog', 'region', 'table', 'image', 'log', 'heading', 'group',
    'columnheader', 'rowheader', 'RootWebArea'];
  for (const { role, name } of seen) {
    if (named.includes(role) && !name.trim()) complaints.push(`a ${role} without a name`);
  }
  for (const landmark of ['main', 'banner', 'contentinfo']) {
    const count = seen.filter(({ role }) => role === landmark).length;
    if (count !== 1) complaints.push(`${count} of ${landmark}`);
  }
  let before = 0;
  for (const { node } of seen.filter(({ role }) => role === 'heading')) {
    const level = node.properties.find(({ name }) => name === 'level').value.value;
    if (level > before + 1) complaints.push(`a heading of level ${level} behind one of level ${before}`);
    before = level;
  }
  if (before === 0) complaints.push('no heading');
  for (const role of roles) {
    if (!seen.some((one) => one.role === role)) complaints.push(`no ${role}`);
  }
  return complaints;
}

/** Runs in the page: contrast of every text, size of every control, captions of tables, ids. */
function look() {
  const complaints = [];
  const parse = (color) => { const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
  const luminance = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.a === 1) return color;
    }
    return { r: 255, g: 255, b: 255 };
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let count = 0;
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !node.checkVisibility() || node.closest('script, style, .unseen')) continue;
    const [one, other] = [luminance(parse(getComputedStyle(node).color)), luminance(behind(node))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    count += 1;
    if (contrast < 4.5) complaints.push(`contrast ${contrast.toFixed(2)}: ${texts.currentNode.data.trim().slice(0, 40)}`);
  }
  if (count < 50) complaints.push(`only ${count} texts`);
  for (const node of document.querySelectorAll('button, input')) {
    if (!node.checkVisibility()) continue;
    const { width, height } = node.getBoundingClientRect();
    if (width < 24 || height < 24) complaints.push(`a control of ${width} by ${height}: ${node.outerHTML.slice(0, 80)}`);
  }
  for (const table of document.querySelectorAll('table')) {
    if (!table.caption?.textContent.trim()) complaints.push('a table without a caption');
    for (const head of table.querySelectorAll('th')) if (!head.scope) complaints.push(`no scope: ${head.textContent}`);
  }
  const ids = [...document.querySelectorAll('[id]')].map((node) => node.id);
  if (new Set(ids).size !== ids.length) complaints.push('an id twice');
  for (const name of ['aria-labelledby', 'aria-describedby']) {
    for (const node of document.querySelectorAll(`[${name}]`)) {
      for (const id of node.getAttribute(name).split(' ')) if (!document.getElementById(id)) complaints.push(`${name}=${id} leads nowhere`);
    }
  }
  if (!document.documentElement.lang) complaints.push('no language');
  if (document.documentElement.scrollWidth > innerWidth) complaints.push(`wider than the window: ${document.documentElement.scrollWidth}`);
  return complaints;
}

/** Runs in the page: marks and letters of every drawing, whether they are seen, inside, and clear of each other. */
function drawn() {
  const complaints = [];
  const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d', { willReadFrequently: true });
  const luminance = (color) => {
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [x, y, z] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = luminance(getComputedStyle(document.body).backgroundColor);
  const contrast = (color) => {
    const one = luminance(color);
    return (Math.max(one, ground) + 0.05) / (Math.min(one, ground) + 0.05);
  };
  const isInside = (box, frame) => box.left >= frame.left - 1 && box.right <= frame.right + 1
    && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
  const seen = [...document.querySelectorAll('svg[role=img]')].filter((svg) => svg.checkVisibility());
  for (const svg of seen) {
    const name = svg.querySelector('title')?.textContent ?? '';
    const complain = (what) => complaints.push(`${name}: ${what}`);
    if (!name || (svg.getAttribute('aria-label') ?? '').length < name.length + 10) complain('too little is said of it');
    const frame = svg.getBoundingClientRect();
    let marks = 0;
    for (const node of svg.querySelectorAll('path, polyline, polygon, circle, rect, line')) {
      const style = getComputedStyle(node);
      const painted = ['fill', 'stroke'].find((paint) => /--(hue|phase)/.test(node.getAttribute(paint) ?? ''));
      const color = painted && style[painted];
      const box = node.getBoundingClientRect();
      if (!isInside(box, frame)) complain(`something is outside: ${node.outerHTML.slice(0, 90)}`);
      if (!color) continue;
      if (box.width > 0 || box.height > 0) marks += 1;
      if (contrast(color) < 3) complain(`contrast ${contrast(color).toFixed(2)} of ${color}`);
    }
    if (marks < 3) complain(`${marks} marks`);
    const letters = [...svg.querySelectorAll('text')].filter((text) => text.textContent.trim());
    const boxes = letters.map((text) => text.getBoundingClientRect());
    if (letters.length < 4) complain(`${letters.length} labels`);
    letters.forEach((text, one) => {
      const said = text.textContent.trim();
      if (!isInside(boxes[one], frame)) complain(`outside: ${said}`);
      const scale = frame.width / svg.viewBox.baseVal.width;
      const size = parseFloat(getComputedStyle(text).fontSize) * scale;
      if (size < 10) complain(`letters of ${size.toFixed(1)}: ${said}`);
      if (contrast(getComputedStyle(text).fill) < 4.5) complain(`contrast of ${said}`);
      for (let other = 0; other < one; other += 1) {
        const [a, b] = [boxes[one], boxes[other]];
        const isClear = a.left >= b.right || b.left >= a.right || a.top >= b.bottom - 2 || b.top >= a.bottom - 2;
        if (!isClear) complain(`${said} lies on ${letters[other].textContent.trim()}`);
      }
    });
  }
  return { count: seen.length, complaints };
}

async function live() {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage'] });
  console.log(JSON.stringify({ browser: browser.version() }));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { do: deed, ...words } = JSON.parse(line);
    let said;
    try {
      said = await deeds[deed](words);
    } catch (error) {
      said = { failed: `${deed} ${JSON.stringify(words)}: ${error.message}`, faults };
    }
    console.log(JSON.stringify(said));
  }
  await browser.close();
}

live();
