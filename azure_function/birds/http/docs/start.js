// Start Swagger UI; a file of its own, because the page allows no inline script.

window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null, // calls no other host
  presets: [SwaggerUIBundle.presets.apis],
});
