/** What is measured inside a page: expressions for `evaluate`, as text, for they run over there. */

/** Texts whose contrast with what is behind them is below WCAG 2.2's AA (1.4.3: 4.5, for large type too), with the ratio. */
export const WEAK_TEXTS = `(() => {
  const rgb = text => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = node => {
    for (let one = node; one; one = one.parentElement) {
      const colour = rgb(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
      if (colour[3] !== 0) throw new Error('a half transparent background cannot be judged: ' + one.className);
    }
    throw new Error('no background');
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const weak = [];
  let seen = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (walker.currentNode.textContent.trim() === '' || /^(SCRIPT|STYLE)$/.test(node.tagName)) continue;
    if (!node.checkVisibility({ contentVisibilityAuto: true })) continue;
    seen++;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) weak.push(node.className + ' ' + ratio.toFixed(2) + ' ' + walker.currentNode.textContent.trim().slice(0, 40));
  }
  return { seen, weak };
})()`;

/** How far the page is wider than its window, in pixels. */
export const OVERHANG = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';

/** Of the steps of every list: how many there are, and how many can be seen. */
export const STEPS_SEEN = `(() => {
  const steps = [...document.querySelectorAll('.steps .step')];
  const seen = steps.filter(step => step.querySelector('.card').checkVisibility({ contentVisibilityAuto: true }));
  return { all: steps.length, seen: seen.length };
})()`;

/** The cards that are shown: their words, line by line. */
export const CARDS = `[...document.querySelectorAll('.scene:not(.closed) .slot')].map(slot => slot.innerText.replace(/\\s+/g, ' ').trim())`;

/** The addresses on the cards that are shown. */
export const PACKETS = `[...document.querySelectorAll('.scene:not(.closed) .slot .packet')].map(packet => packet.innerText.replace(/\\s+/g, ' ').trim())`;

/** Where the markers stand: the words of the place, without those of the markers. */
export const MARKERS = `[...document.querySelectorAll('.scene:not(.closed) .marker')].map(marker => {
  const place = marker.closest('.place').cloneNode(true);
  for (const part of place.querySelectorAll('.by, .here, .when')) part.remove();
  return marker.textContent + ' at ' + place.textContent.trim();
})`;

export const SAID = `document.querySelector('.scene:not(.closed) .said').textContent`;
export const COUNT = `document.querySelector('.scene:not(.closed) .count').textContent`;
