// What the theme leaves out: code that scrolls can be reached with the keyboard, and the search has a name.
document$.subscribe(() => {
  for (const code of document.querySelectorAll("pre > code")) code.tabIndex = 0;
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
});
