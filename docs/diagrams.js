// Draws the diagrams of the book, which mdBook shows as code. Where the library is missing, they stay code.
for (const code of document.querySelectorAll('code.language-mermaid')) {
  const diagram = document.createElement('div');
  diagram.className = 'mermaid';
  diagram.textContent = code.textContent;
  code.closest('pre').replaceWith(diagram);
}
const isDark = /\b(coal|navy|ayu)\b/.test(document.documentElement.className);
mermaid.initialize({ startOnLoad: true, theme: isDark ? 'dark' : 'default' });
