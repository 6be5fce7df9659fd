/** Files that are bundled as text. */
declare module '*.sh' {
  const text: string;
  export default text;
}
declare module '*.css' {
  const text: string;
  export default text;
}
/** What runs in the browser, from the page that is made of it. */
declare module '*.page.js' {
  const text: string;
  export default text;
}
