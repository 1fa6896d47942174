"""An archive's DICOMweb service: films are fetched from it, results are stored there."""
