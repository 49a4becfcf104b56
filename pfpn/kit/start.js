Reveal.initialize({
  width: 1280, height: 720, margin: 0, center: false, controls: false, hash: true, transition: "none", slideNumber: "c/t",
  pdfMaxPagesPerSlide: 1, pdfSeparateFragments: false, plugins: [RevealNotes],
});
