"""How alike two pictures look: features of VGG-16, and LPIPS."""
