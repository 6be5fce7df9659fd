// @ts-check
/**
 * Runs in the browser: shows one step of each lane at a time. Everything it shows is in the page already; it clones cards and
 * moves markers, and makes no markup of text.
 */
(() => {
  /** @type {(root: ParentNode, selector: string) => HTMLElement[]} */
  const all = (root, selector) => [...root.querySelectorAll(selector)].map(node => /** @type {HTMLElement} */ (node));
  /** @type {(root: ParentNode, selector: string) => HTMLElement} */
  const one = (root, selector) => /** @type {HTMLElement} */ (root.querySelector(selector));

  const scenes = all(document, '.scene').map(createScene);
  const tabs = all(document, 'nav a');
  let active = 0;
  if (scenes.length === 0) return;

  document.documentElement.classList.add('plays');
  for (const [index, tab] of tabs.entries())
    tab.addEventListener('click', event => {
      event.preventDefault();
      open(index);
    });
  document.addEventListener('keydown', onKey);
  document.addEventListener('click', onClick);
  addEventListener('hashchange', followHash);
  addEventListener('beforeprint', openDetails);
  open(0);
  followHash();

  /** @param {number} index */
  function open(index) {
    active = index;
    for (const [i, scene] of scenes.entries()) scene.root.classList.toggle('closed', i !== index);
    for (const [i, tab] of tabs.entries()) {
      if (i === index) tab.setAttribute('aria-current', 'true');
      else tab.removeAttribute('aria-current');
    }
    scenes[index]?.show(false);
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
    const scene = scenes[active];
    const move = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (move === undefined || !scene) return;
    event.preventDefault();
    scene.move(move);
  }

  /** A step's name in the list leads to it. @param {MouseEvent} event */
  function onClick(event) {
    const link = event.target instanceof Element ? event.target.closest('.step .where a') : null;
    if (!link) return;
    event.preventDefault();
    goTo(link.getAttribute('href') ?? '');
  }

  function followHash() {
    goTo(location.hash);
  }

  /** @param {string} hash `#s0` of a scene, `#s0-1-7` of a step */
  function goTo(hash) {
    const step = /^#s\d+(-\d+-\d+)?$/.test(hash) ? document.getElementById(hash.slice(1)) : null;
    const index = step ? scenes.findIndex(scene => scene.root.contains(step)) : -1;
    if (!step || index < 0) return;
    open(index);
    if (step !== scenes[index]?.root) scenes[index]?.goTo(step);
  }

  function openDetails() {
    for (const details of all(document, 'details')) details.setAttribute('open', '');
  }

  /** @param {HTMLElement} root */
  function createScene(root) {
    const ways = all(root, '.way');
    const slots = all(root, '.slot');
    const each = /** @type {HTMLInputElement} */ (one(root, '.each'));
    const tags = ways.map(way => one(way, '.tag'));
    const markers = tags.map(tag => /** @type {HTMLElement} */ (tag.cloneNode(true)));
    for (const marker of markers) {
      marker.classList.add('marker');
      marker.setAttribute('aria-hidden', 'true');
    }
    const stops = readSteps('stop', root.dataset.stops ?? '');
    const every = readSteps('every', root.dataset.every ?? '');
    let frames = stops;
    let now = 0;
    drawRail();

    each.addEventListener('change', () => {
      const steps = frames[now] ?? [];
      frames = each.checked ? every : stops;
      now = nearest(steps);
      drawRail();
      show(true);
    });
    for (const [name, by] of /** @type {[string, number][]} */ ([
      ['.first', -Infinity],
      ['.back', -1],
      ['.next', 1],
      ['.last', Infinity],
    ]))
      one(root, name).addEventListener('click', () => move(by));

    return { root, show, move, goTo };

    /** The steps of every lane, frame by frame. @param {string} kind @param {string} text */
    function readSteps(kind, text) {
      const lanes = ways.map(way => new Map(all(way, `[data-${kind}]`).map(step => [step.dataset[kind], step])));
      return text
        .split(' ')
        .map(frame => frame.split(',').map((n, lane) => /** @type {HTMLElement} */ (lanes[lane]?.get(n))));
    }

    /** @param {number} by */
    function move(by) {
      now = Math.min(frames.length - 1, Math.max(0, now + by));
      show(true);
      one(root, '.stage').scrollIntoView({ block: 'start' });
    }

    /** @param {HTMLElement} step */
    function goTo(step) {
      const at = frames.findIndex(frame => frame.includes(step));
      if (at < 0 && !each.checked) {
        each.click();
        return goTo(step);
      }
      if (at >= 0) now = at;
      show(true);
      one(root, '.stage').scrollIntoView({ block: 'start' });
    }

    /** The frame in which most of these steps, or of what they hold, are shown. @param {HTMLElement[]} steps */
    function nearest(steps) {
      const near = (/** @type {HTMLElement | undefined} */ a, /** @type {HTMLElement | undefined} */ b) =>
        a !== undefined && b !== undefined && (a.contains(b) || b.contains(a));
      const score = frames.map(frame => frame.filter((step, lane) => near(step, steps[lane])).length);
      return Math.max(0, score.indexOf(Math.max(...score)));
    }

    /** @param {boolean} aloud */
    function show(aloud) {
      const frame = frames[now] ?? [];
      const before = frames[now - 1];
      for (const [lane, step] of frame.entries()) {
        const moved = before?.[lane] !== step;
        fill(/** @type {HTMLElement} */ (slots[lane]), step, moved);
        mark(lane, step, moved);
        for (const other of all(/** @type {HTMLElement} */ (ways[lane]), '.current')) other.classList.remove('current');
        step.classList.add('current');
      }
      for (const dot of all(root, '.rail span')) dot.classList.toggle('on', Number(dot.dataset.at) === now);
      const count = `Step ${now + 1} of ${frames.length}`;
      one(root, '.count').textContent = count;
      setDisabled('.first', now === 0);
      setDisabled('.back', now === 0);
      setDisabled('.next', now === frames.length - 1);
      setDisabled('.last', now === frames.length - 1);
      if (aloud) one(root, '.said').textContent = [`${count}.`, ...frame.map(spoken)].join(' ');
    }

    /** A button that has the focus keeps it, so it is not disabled but says that it does nothing. @param {string} name @param {boolean} off */
    function setDisabled(name, off) {
      one(root, name).setAttribute('aria-disabled', String(off));
    }

    /** @param {HTMLElement} slot @param {HTMLElement} step @param {boolean} moved */
    function fill(slot, step, moved) {
      const card = one(step, '.card').cloneNode(true);
      slot.replaceChildren(card);
      slot.className = `slot ${step.className.replace('current', '')}`;
      slot.parentElement?.classList.toggle('waits', !moved);
    }

    /** @param {number} lane @param {HTMLElement} step @param {boolean} moved */
    function mark(lane, step, moved) {
      const steps = frames.slice(0, now + 1).map(frame => /** @type {HTMLElement} */ (frame[lane]));
      const passed = new Set(steps.flatMap(placesOf));
      for (const place of all(root, '.place')) {
        place.classList.toggle(`passed-${lane}`, passed.has(place.dataset.place ?? ''));
        place.classList.remove(`at-${lane}`);
      }
      const here = one(root, `.place[data-place="${placesOf(step).at(-1)}"]`);
      const marker = /** @type {HTMLElement} */ (markers[lane]);
      here?.classList.add(`at-${lane}`);
      here?.querySelector('.here')?.append(marker);
      marker.classList.toggle('rewriting', moved && step.classList.contains('rewrite'));
      marker.classList.toggle('forking', moved && step.classList.contains('parting'));
    }

    /** @param {HTMLElement} step */
    function placesOf(step) {
      return (step.dataset.at ?? '').split(' ');
    }

    /** @param {HTMLElement} step @param {number} lane */
    function spoken(step, lane) {
      const text = (/** @type {string} */ selector) =>
        all(one(step, '.card'), selector)
          .map(node => node.textContent?.trim() ?? '')
          .join(', ');
      const change = text('.change').replace(/\s+/g, ' ');
      const words = [text('.where').replace(/\s+/g, ' '), text('.why'), text('.what'), change].filter(
        word => word !== '',
      );
      return `${tags[lane]?.textContent}: ${words.join('. ')}.`;
    }

    function drawRail() {
      const dots = frames.map((frame, at) => {
        const dot = document.createElement('span');
        dot.dataset.at = String(at);
        const is = (/** @type {string} */ name) =>
          frame.some((step, lane) => step.classList.contains(name) && frames[at - 1]?.[lane] !== step);
        dot.className = is('parting') ? 'parting' : is('rewrite') ? 'rewrite' : '';
        dot.addEventListener('click', () => move(at - now));
        return dot;
      });
      one(root, '.rail').replaceChildren(...dots);
    }
  }
})();
